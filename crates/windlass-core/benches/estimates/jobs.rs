//! The jobs: seven functions whose run times spread little or much, that use more CPUs well or badly, and tell progress
//! finely, coarsely, late or not at all.

use windlass_core::Cpus;
use windlass_core::status::Progress;

/// Numbers that are the same at each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From 0 to 1.
    pub(crate) fn part(&mut self) -> f64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.part() * end as f64) as usize
    }

    /// Of a normal distribution (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (first, second) = (1.0 - self.part(), self.part());
        (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()
    }

    /// The time to the next of events that come by chance.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }
}

/// How much work a job of a function is.
#[derive(Clone, Copy)]
enum Spread {
    /// The standard deviation of its logarithm.
    LogNormal(f64),
    /// The power with which the tail falls.
    Pareto(f64),
}

/// A function.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// CPU-seconds of the middle job.
    work: f64,
    spread: Spread,
    /// The part of the work that one CPU does alone.
    serial: f64,
    /// Units of progress; 0 for none.
    units: u64,
    /// The part of the time before its first unit begins.
    silent: f64,
    /// The fewest CPUs, and how many times as many at most.
    min: Cpus,
    times: Cpus,
}

const FUNCTIONS: [Function; 7] = [
    function("price", 60.0, Spread::LogNormal(0.3), (0.0, 1000, 0.0), (2, 4)),
    function("render", 200.0, Spread::LogNormal(0.6), (0.02, 300, 0.01), (1, 8)),
    function("fit", 150.0, Spread::LogNormal(0.5), (0.05, 40, 0.0), (4, 1)),
    function("simulate", 120.0, Spread::LogNormal(1.2), (0.0, 500, 0.02), (1, 4)),
    function("sweep", 60.0, Spread::Pareto(1.6), (0.1, 0, 0.0), (2, 4)),
    function("convert", 20.0, Spread::LogNormal(0.4), (1.0, 0, 0.0), (1, 1)),
    function("solve", 400.0, Spread::LogNormal(0.8), (0.03, 200, 0.03), (8, 2)),
];

const fn function(
    name: &'static str,
    work: f64,
    spread: Spread,
    (serial, units, silent): (f64, u64, f64),
    (min, times): (Cpus, Cpus),
) -> Function {
    Function { name, work, spread, serial, units, silent, min, times }
}

/// A job.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) function: Function,
    pub(crate) min: Cpus,
    pub(crate) max: Cpus,
    work: f64,
    /// Its rate changes: after this power of the time that part of its units is done.
    bend: f64,
}

impl Work {
    pub(crate) fn new(random: &mut Random, function: Function) -> Self {
        let size = match function.spread {
            Spread::LogNormal(deviation) => (deviation * random.normal()).exp(),
            Spread::Pareto(power) => (1.0 - random.part()).powf(-1.0 / power),
        };
        let bend = (0.05 * random.normal()).exp();
        let Function { work, min, times, .. } = function;
        Self { function, min, max: min * times, work: work * size, bend }
    }

    /// How long it takes with so many CPUs (Amdahl's law).
    pub(crate) fn seconds(&self, cpus: Cpus) -> f64 {
        let serial = self.function.serial;
        self.work * (serial + (1.0 - serial) / f64::from(cpus))
    }

    /// After what part of its time it has done the first unit.
    pub(crate) fn first_progress(&self) -> Option<f64> {
        let Function { units, silent, .. } = self.function;
        let worked = || (units as f64).recip().powf(self.bend.recip());
        (units > 0).then(|| silent + (1.0 - silent) * worked())
    }

    /// What it tells after this part of its time.
    pub(crate) fn progress(&self, part: f64) -> Option<Progress> {
        let Function { units, silent, .. } = self.function;
        let worked = ((part - silent) / (1.0 - silent)).max(0.0).powf(self.bend);
        let done = (worked * units as f64) as u64;
        (units > 0).then(|| Progress::new(done, units, "", 0.0))
    }
}

/// Jobs come in crowds of one function.
pub(crate) fn crowd(random: &mut Random) -> Vec<Work> {
    let function = FUNCTIONS[random.below(FUNCTIONS.len())];
    let count = [1, 1, 1, 2, 4, 8, 16][random.below(7)];
    (0..count).map(|_| Work::new(random, function)).collect()
}
