//! Numbers that are spread like random ones, and are the same each time.

/// What is drawn for one of several plays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    pub(super) play: usize,
    /// How many plays there are: a power of two.
    pub(super) of: usize,
}

impl Draws {
    /// Whether unknown run times are short in this play.
    pub(super) fn is_early(self) -> bool {
        self.play.is_multiple_of(2)
    }

    /// A number from 0 to 1 for the job of this name. All plays together draw one out of each of as many equal parts
    /// (Latin hypercube sampling; McKay, Beckman and Conover, Technometrics 21, 1979), so that few plays suffice.
    pub(super) fn draw(self, name: &str) -> f64 {
        // FNV-1a.
        let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        let seed = mixed(seed);
        let (play, of) = (self.play as u64, self.of as u64);
        // An odd factor permutes the numbers below a power of two.
        let part = play.wrapping_mul((seed >> 32) | 1).wrapping_add(seed) % of;
        let within = (mixed(seed ^ (play + 1)) >> 11) as f64 / (1_u64 << 53) as f64;
        (part as f64 + within) / of as f64
    }
}

/// The last step of SplitMix64.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
