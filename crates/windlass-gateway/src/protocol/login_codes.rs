//! Codes that are good once and for a minute: a browser gets the token of whoever opened it for one.
//!
//! A link with the token itself would stay in the history of the browser. What stays there of a code is of no use.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::bearer::BearerToken;
use super::secret::random_secret;

/// How long a code is good.
pub(crate) const CODE_LIFE: Duration = Duration::from_mins(1);

/// Most codes that are good at a time. The oldest is forgotten for another.
const MAX_CODES: usize = 16;

/// By the SHA-256 of the code, so that looking for one tells nothing by its time.
#[derive(Default)]
pub(crate) struct LoginCodes(Mutex<HashMap<[u8; 32], (Instant, BearerToken)>>);

impl LoginCodes {
    /// A new code for this token.
    pub(crate) fn issue(&self, token: BearerToken, now: Instant) -> io::Result<String> {
        let code = random_secret()?;
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, (issued, _)| is_good(*issued, now));
        if codes.len() >= MAX_CODES
            && let Some(oldest) = codes.iter().min_by_key(|(_, (issued, _))| *issued)
        {
            let oldest = *oldest.0;
            codes.remove(&oldest);
        }
        codes.insert(digest(&code), (now, token));
        Ok(code)
    }

    /// The token of this code, which is forgotten.
    pub(crate) fn redeem(&self, code: &str, now: Instant) -> Option<BearerToken> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (issued, token) = codes.remove(&digest(code))?;
        is_good(issued, now).then_some(token)
    }
}

fn is_good(issued: Instant, now: Instant) -> bool {
    now.duration_since(issued) < CODE_LIFE
}

fn digest(code: &str) -> [u8; 32] {
    Sha256::digest(code).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> BearerToken {
        let headers = [(http::header::AUTHORIZATION, "Bearer secret".parse().unwrap())];
        BearerToken::from_headers(&headers.into_iter().collect()).ok().unwrap()
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let (codes, now) = (LoginCodes::default(), Instant::now());
        let code = codes.issue(token(), now).unwrap();
        assert!(codes.redeem("another", now).is_none());
        assert_eq!(codes.redeem(&code, now).unwrap().as_str(), "secret");
        assert!(codes.redeem(&code, now).is_none());
        let late = codes.issue(token(), now).unwrap();
        assert!(codes.redeem(&late, now + CODE_LIFE).is_none());
    }

    #[test]
    fn the_oldest_code_is_forgotten_for_another() {
        let (codes, now) = (LoginCodes::default(), Instant::now());
        let issue = |second| codes.issue(token(), now + Duration::from_secs(second)).unwrap();
        let all: Vec<_> = (0..=MAX_CODES as u64).map(issue).collect();
        let end = now + Duration::from_secs(MAX_CODES as u64);
        assert!(codes.redeem(&all[0], end).is_none());
        assert!(all[1..].iter().all(|code| codes.redeem(code, end).is_some()));
    }
}
