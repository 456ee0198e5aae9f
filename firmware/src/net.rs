//! The network stack: addresses by DHCP or fixed, IPv6 beside IPv4, and word of both in the log.

use core::net::{IpAddr, SocketAddr};

use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack};
use embassy_time::{Duration, Timer};
use fingerpost_link::node::Addresses;

use crate::health::{self, Task};
use crate::memory::NetworkResources;
use crate::state::State;
use crate::{board, executor};

/// Starts the stack and what belongs to it.
#[inline(never)]
pub(crate) fn start(
    spawner: Spawner,
    driver: board::Network,
    config: Config,
    resources: &'static mut NetworkResources,
    seed: u64,
    state: &'static State,
    port: u16,
) -> Stack<'static> {
    let (stack, runner) = embassy_net::new(driver, config, resources, seed);
    executor::spawn(spawner, run(runner));
    executor::spawn(spawner, tell(stack, state, port));
    stack
}

#[embassy_executor::task]
async fn run(mut runner: Runner<'static, board::Network>) -> ! {
    runner.run().await
}

/// Where the board answers now.
pub(crate) fn addresses(stack: Stack<'static>, port: u16) -> Addresses {
    let ipv4 = stack.config_v4().map(|config| IpAddr::V4(config.address.address()));
    let ipv6 = stack.config_v6().map(|config| IpAddr::V6(config.address.address()));
    ipv4.into_iter().chain(ipv6).map(|address| SocketAddr::new(address, port)).collect()
}

/// Tells of the link and of addresses, as they come and go: in the log, and those who publish them.
#[embassy_executor::task]
async fn tell(stack: Stack<'static>, state: &'static State, port: u16) -> ! {
    let (mut is_up, mut ipv4, mut ipv6) = (false, None, None);
    loop {
        health::beat(Task::Network);
        if is_up != stack.is_link_up() {
            is_up = !is_up;
            log::info!("link {}", if is_up { "up" } else { "down" });
        }
        let (new_ipv4, new_ipv6) = (stack.config_v4(), stack.config_v6());
        if (&ipv4, &ipv6) != (&new_ipv4, &new_ipv6) {
            state.addresses.replace(addresses(stack, port));
            state.wake.signal(());
        }
        if ipv4 != new_ipv4 {
            match &new_ipv4 {
                Some(config) => match config.gateway {
                    Some(gateway) => log::info!("address {}, gateway {gateway}", config.address),
                    None => log::info!("address {}, no gateway", config.address),
                },
                None => log::warn!("no IPv4 address"),
            }
            ipv4 = new_ipv4;
        }
        if ipv6 != new_ipv6 {
            match &new_ipv6 {
                Some(config) => log::info!("address {}", config.address),
                None => log::warn!("no IPv6 address but the link-local one"),
            }
            ipv6 = new_ipv6;
        }
        Timer::after(LOOK).await;
    }
}

/// Addresses change seldom, and nothing waits for the log.
const LOOK: Duration = Duration::from_millis(100);
