//! Vectors of three numbers: points, directions, colors.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

/// Three numbers. Colors are linear, red, green and blue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Vector {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) z: f64,
}

/// A vector from its components.
pub(super) const fn vector(x: f64, y: f64, z: f64) -> Vector {
    Vector { x, y, z }
}

impl From<[f64; 3]> for Vector {
    fn from([x, y, z]: [f64; 3]) -> Self {
        Self { x, y, z }
    }
}

impl Vector {
    pub(super) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(super) fn cross(self, other: Self) -> Self {
        vector(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    pub(super) fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The same direction with length 1. Not a number for the zero vector.
    pub(super) fn unit(self) -> Self {
        self / self.length()
    }

    pub(super) fn min(self, other: Self) -> Self {
        vector(self.x.min(other.x), self.y.min(other.y), self.z.min(other.z))
    }

    pub(super) fn max(self, other: Self) -> Self {
        vector(self.x.max(other.x), self.y.max(other.y), self.z.max(other.z))
    }

    pub(super) fn largest(self) -> f64 {
        self.x.max(self.y).max(self.z)
    }

    /// One of the three components.
    pub(super) fn component(self, axis: usize) -> f64 {
        [self.x, self.y, self.z][axis]
    }

    /// Two directions that are at right angles to this unit vector and to each other (Duff et al., "Building an
    /// Orthonormal Basis, Revisited", 2017).
    pub(super) fn tangents(self) -> (Self, Self) {
        let sign = 1.0_f64.copysign(self.z);
        let a = -1.0 / (sign + self.z);
        let b = self.x * self.y * a;
        (
            vector(1.0 + sign * self.x * self.x * a, sign * b, -sign * self.x),
            vector(b, sign + self.y * self.y * a, -self.y),
        )
    }
}

impl Add for Vector {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vector(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl AddAssign for Vector {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Vector {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vector(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Neg for Vector {
    type Output = Self;
    fn neg(self) -> Self {
        vector(-self.x, -self.y, -self.z)
    }
}

/// By component: light that a colored surface reflects.
impl Mul for Vector {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        vector(self.x * other.x, self.y * other.y, self.z * other.z)
    }
}

impl MulAssign for Vector {
    fn mul_assign(&mut self, other: Self) {
        *self = *self * other;
    }
}

impl Mul<f64> for Vector {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        vector(self.x * factor, self.y * factor, self.z * factor)
    }
}

impl Div<f64> for Vector {
    type Output = Self;
    fn div(self, divisor: f64) -> Self {
        self * (1.0 / divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tangents_are_a_right_angled_frame_in_every_direction() {
        for normal in [
            vector(0.0, 0.0, 1.0),
            vector(0.0, 0.0, -1.0),
            vector(0.0, 1.0, 0.0),
            vector(1.0, -2.0, 0.5).unit(),
            vector(-1e-9, 1e-9, -1.0).unit(),
        ] {
            let (u, v) = normal.tangents();
            for (a, b, want) in
                [(u, u, 1.0), (v, v, 1.0), (u, v, 0.0), (u, normal, 0.0), (v, normal, 0.0)]
            {
                assert!((a.dot(b) - want).abs() < 1e-12, "{normal:?}");
            }
        }
    }
}
