//! What both back ends share: the [`Clock`] that they decide with, and [`FreshAnswers`], a cache of answers that many ask
//! for again and again.

mod clock;
mod fresh_answers;

pub use clock::Clock;
pub use fresh_answers::FreshAnswers;
