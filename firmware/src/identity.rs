//! Who the node is to others: what its configuration block says, checked, and its life once it has an address.

use core::fmt::Write as _;

use ed25519_dalek::SigningKey;
#[cfg(feature = "steering")]
use ed25519_dalek::VerifyingKey;
use embassy_net::Stack;
use fingerpost_link::node::Addresses;
#[cfg(feature = "steering")]
use fingerpost_link::node::Belief;
use heapless::{String, Vec};
use resolver_core::life::message::{MAX_RESET, MAX_SERVICES, MAX_SOFTWARE};
use resolver_core::life::{
    Announcement, Identifier, Identity, Life, NodeError, Place, Service, Settings, printable,
};
use resolver_core::provision::Block;
#[cfg(feature = "steering")]
use resolver_core::{
    Registry,
    life::message::parse_certificate,
    provision::limits::{KEY_LEN, MAX_OPERATORS, MAX_REGIONS},
    registry,
};
use static_cell::StaticCell;

use crate::memory::PAYLOAD_LIMIT;
use crate::{last_words, net, state, trail};

/// An enrolment that holds.
pub(crate) struct Proven {
    identity: Identity<'static>,
    services: Vec<Service<'static>, MAX_SERVICES>,
    place: Option<Place>,
    payload_limit: u32,
    port: u16,
    /// Higher with each start.
    boot: u64,
    #[cfg(feature = "steering")]
    belief: Option<Belief<'static>>,
}

impl Proven {
    /// The enrolment of `block`. Without one, or with one that does not hold, which is told, the node is anonymous.
    pub(crate) fn of(block: &Block<'static>, boot: u64) -> Option<Self> {
        let enrolment = block.enrolment?;
        let refuse = |what: NodeError| {
            log::error!("enrolment: {what}: nobody hears of this node; enrol it again and provision it anew");
        };
        let key = SigningKey::from_bytes(enrolment.key.0.try_into().ok()?);
        let (Some(node), Some(region)) = (Identifier::new(block.name), Identifier::new(block.region)) else {
            log::error!("enrolment: the block names no region: nobody hears of this node; provision it anew");
            return None;
        };
        let identity = Identity::new(node, region, key, enrolment.certificate).map_err(refuse).ok()?;
        let mut services: Vec<_, MAX_SERVICES> = block
            .services
            .iter()
            .filter_map(|service| {
                let name = Identifier::new(service.name)?;
                let (port, capacity, weight) = (service.port, service.capacity, service.weight);
                Some(Service { name, port, capacity, weight })
            })
            .collect();
        // A sixteen at most: the library's sorting would take kilobytes of flash.
        for end in 1..services.len() {
            for place in (1..=end).rev() {
                let key = |at: usize| (services[at].name, services[at].port);
                if key(place) < key(place - 1) {
                    services.swap(place, place - 1);
                }
            }
        }
        let place = place(block);
        let payload_limit = block.payload_limit.min(PAYLOAD_LIMIT as u32);
        Some(Self {
            identity,
            services,
            place,
            payload_limit,
            port: block.port,
            boot,
            #[cfg(feature = "steering")]
            belief: belief(block, node, region),
        })
    }

    /// Whom it believes, if it steers to anybody.
    #[cfg(feature = "steering")]
    pub(crate) fn belief(&self) -> Option<Belief<'static>> {
        self.belief
    }

    /// Its life under the addresses that it has now. Panics if called twice: a node is born once.
    pub(crate) fn born(self, stack: Stack<'static>, root: &str, seed: u64) -> Option<Life<'static>> {
        static ADDRESSES: StaticCell<Addresses> = StaticCell::new();
        static SERVICES: StaticCell<Vec<Service<'static>, MAX_SERVICES>> = StaticCell::new();
        static SOFTWARE: StaticCell<String<MAX_SOFTWARE>> = StaticCell::new();
        static WORDS: StaticCell<String<MAX_RESET>> = StaticCell::new();
        let previous = last_words::previous();
        let software = SOFTWARE.init(String::new());
        // It fits.
        let _ = write!(software, "fingerpost {} (board {:08x})", env!("CARGO_PKG_VERSION"), trail::image());
        let announcement = Announcement {
            software,
            addresses: ADDRESSES.init(net::addresses(stack, self.port)),
            place: self.place,
            payload_limit: self.payload_limit,
            last_reset: WORDS.init(previous.map_or(String::new(), |previous| printable(&previous.words))),
            services: SERVICES.init(self.services),
        };
        let settings = Settings { root, boot: self.boot, seed };
        let life = Life::new(self.identity, announcement, settings, state::now());
        life.map_err(|error| log::error!("enrolment: {error}: nobody hears of this node; enrol it again"))
            .ok()
    }
}

/// Where the block says that the board is.
fn place(block: &Block<'_>) -> Option<Place> {
    block.position.map(|at| Place { latitude: at.latitude, longitude: at.longitude })
}

/// What is known of other nodes: nothing yet. The board's own name and place are those of `block`, if it is enrolled.
#[cfg(feature = "steering")]
#[inline(never)]
pub(crate) fn registry(
    block: Option<&Block<'_>>,
    memory: registry::Memory<'static>,
    seed: u64,
) -> Registry<'static> {
    let own = block.filter(|block| block.enrolment.is_some());
    let settings = registry::Settings {
        node: own.and_then(|block| Identifier::new(block.name)),
        region: own.and_then(|block| Identifier::new(block.region)),
        place: own.and_then(place),
        ..registry::Settings::default()
    };
    Registry::new(memory, &settings, seed)
}

/// Whom `block` says to believe, if anybody. Panics if called twice: there is one block.
#[cfg(feature = "steering")]
fn belief(
    block: &Block<'static>,
    node: Identifier<'static>,
    region: Identifier<'static>,
) -> Option<Belief<'static>> {
    static OPERATORS: StaticCell<Vec<VerifyingKey, MAX_OPERATORS>> = StaticCell::new();
    static REGIONS: StaticCell<Vec<Identifier<'static>, MAX_REGIONS>> = StaticCell::new();
    let steering = block.steering?;
    let keys = steering.operators.chunks(KEY_LEN).filter_map(|octets| octets.try_into().ok());
    let operators = OPERATORS.init(keys.filter_map(|octets| VerifyingKey::from_bytes(octets).ok()).collect());
    let regions = REGIONS.init(match steering.regions {
        "" => core::iter::once(region).collect(),
        // `*` is no identifier: any.
        names => names.split(',').filter_map(Identifier::new).collect(),
    });
    let certificate = block.enrolment.and_then(|enrolment| parse_certificate(enrolment.certificate).ok());
    let certificate = certificate.map_or(0, |certificate| certificate.serial);
    Some(Belief { operators, regions, root: block.broker.root, node, certificate })
}
