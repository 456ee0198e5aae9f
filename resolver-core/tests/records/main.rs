//! The record store against plain maps, through its public face.
#![allow(clippy::unwrap_used)]

mod ops;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Any program of changes, stagings, removals and refusals, over zones that nest.
    #[test]
    fn store_and_maps_agree(program in prop::collection::vec(any::<u8>(), 0..700)) {
        ops::run(&program);
    }
}
