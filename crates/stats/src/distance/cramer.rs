//! The laws of the Cramér-von Mises and Anderson-Darling statistics of two samples.

use super::Test;
use std::f64::consts::{FRAC_PI_2, PI};

/// Up to this many values in each sample the Cramér-von Mises p-value is exact.
const EXACT: usize = 20;
/// Nodes of the integrals in [`limit_tail`].
const NODES: u32 = 128;
/// Below this the limit law has no mass worth naming: 1e-18.
const LEAST: f64 = 0.003;
/// `ln(p) = A x^2 + B x + C`, least squares through ln of .25, .1, .05, .025, .01, .005, .001 at the critical values of
/// two samples (.325, 1.226, 1.961, 2.718, 3.752, 4.592, 6.546) in table 2 of Scholz and Stephens, 1987.
const LOG_TAIL: [f64; 3] = [0.01819809457411147, -1.0082265644652515, -1.077770279820484];

/// The Cramér-von Mises test, from four times the weighted sum of squared rank differences.
pub(super) fn two_sample_test(n: usize, m: usize, quadruple_u: i128) -> Test {
    let (pairs, all) = (n as i128 * m as i128, n as i128 + m as i128);
    let excess = 6 * quadruple_u - 4 * pairs * (4 * pairs - 1);
    let statistic = excess as f64 / (24 * pairs * all) as f64;
    let p_value = if n.max(m) <= EXACT {
        exact_tail(n, m, excess)
    } else {
        let (n, m, all) = (n as f64, m as f64, all as f64);
        let mean = (1.0 + 1.0 / all) / 6.0;
        let variance = (all + 1.0) * (4.0 * n * m * all - 3.0 * (n * n + m * m) - 2.0 * n * m)
            / (45.0 * all * all * 4.0 * n * m);
        limit_tail(1.0 / 6.0 + (statistic - mean) / (45.0 * variance).sqrt())
    };
    Test { statistic, p_value }
}

/// The share of all orders of two samples without ties whose statistic is at least this large: paths from (0, 0) to
/// (n, m), counted by the squared distance from the diagonal that they add up (Xiao, Gordon, Yakovlev, Journal of
/// Statistical Software 17, 2006).
fn exact_tail(n: usize, m: usize, excess: i128) -> f64 {
    let multiple = n / divisor(n, m) * m;
    let (a, b) = ((multiple / n) as i64, (multiple / m) as i64);
    let pairs = n as i128 * m as i128;
    let scaled = (multiple as i128).pow(2) * (n + m) as i128 * excess;
    let observed = scaled.div_euclid(24 * pairs * pairs);
    // Of each point of a column: how many paths lead to it with each sum, by rising sum.
    let mut column: Vec<Vec<(u64, f64)>> = vec![Vec::new(); n + 1];
    column[0].push((0, 1.0));
    for right in 0..=m {
        let mut below: Vec<(u64, f64)> = Vec::new();
        for (up, point) in column.iter_mut().enumerate() {
            let away = a * up as i64 - b * right as i64;
            below = together(&below, point, away.unsigned_abs().pow(2));
            point.clone_from(&below);
        }
    }
    let paths = &column[n];
    let as_large: f64 = paths.iter().filter(|(sum, _)| *sum as i128 >= observed).map(|path| path.1).sum();
    as_large / paths.iter().map(|path| path.1).sum::<f64>()
}

/// The greatest common divisor.
pub(super) fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Two tables of counts by rising sum in one, with `more` added to each sum.
fn together(left: &[(u64, f64)], right: &[(u64, f64)], more: u64) -> Vec<(u64, f64)> {
    let mut both = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let sum = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => a.0.min(b.0),
            (Some(a), None) => a.0,
            (None, Some(b)) => b.0,
            (None, None) => return both,
        };
        let paths =
            [&mut left, &mut right].map(|side| side.next_if(|path| path.0 == sum).map_or(0.0, |path| path.1));
        both.push((sum + more, paths[0] + paths[1]));
    }
}

/// `P(W > x)` of the limit law of the Cramér-von Mises statistic, the law of the sum of `Z_j^2 / (j pi)^2`, by Smirnov's
/// alternating integrals
/// `1/pi sum_k (-1)^(k+1) int over s from (2k-1) pi to 2k pi of 2/s sqrt(s / -sin s) exp(-x s^2 / 2) ds`
/// (N. V. Smirnov, Matematicheskii Sbornik 2, 1937), at Chebyshev's nodes, which take the singular ends away. Exact to
/// rounding, also far in the tail.
fn limit_tail(x: f64) -> f64 {
    if x < LEAST {
        return 1.0;
    }
    let integral = |k: u32| -> f64 {
        let node = |step: u32| {
            let (sine, cosine) = ((f64::from(step) + 0.5) / f64::from(NODES) * PI).sin_cos();
            let s = PI * (2.0 * f64::from(k) - 0.5) + FRAC_PI_2 * cosine;
            PI * sine / s * (s / (FRAC_PI_2 * cosine).cos()).sqrt() * (-0.5 * x * s * s).exp()
        };
        (0..NODES).map(node).sum::<f64>() / f64::from(NODES)
    };
    let mut tail = 0.0;
    for k in 1..=30 {
        let term = integral(k);
        tail += if k % 2 == 1 { term } else { -term };
        if term < 1e-18 * tail {
            break;
        }
    }
    tail.clamp(0.0, 1.0)
}

/// The Anderson-Darling test, from the midrank statistic of Scholz and Stephens (their equation 7, variance from 4).
pub(super) fn anderson_darling_test(n: f64, m: f64, squares: f64) -> Test {
    let all = n + m;
    let both = 1.0 / n + 1.0 / m;
    // Partial sums of 1/(N-1) + 1/(N-2) + ... + 1/2.
    let (mut harmonic, mut g) = (0.0, 0.0);
    for place in 2..all as u64 {
        harmonic += 1.0 / (all + 1.0 - place as f64);
        g += harmonic / place as f64;
    }
    let h = harmonic + 1.0;
    let a = (4.0 * g - 6.0) + (10.0 - 6.0 * g) * both;
    let b = (2.0 * g - 4.0) * 4.0 + 16.0 * h + (2.0 * g - 14.0 * h - 4.0) * both - 8.0 * h + 4.0 * g - 6.0;
    let c =
        (6.0 * h + 2.0 * g - 2.0) * 4.0 + (4.0 * h - 4.0 * g + 6.0) * 2.0 + (2.0 * h - 6.0) * both + 4.0 * h;
    let d = (2.0 * h + 6.0) * 4.0 - 8.0 * h;
    let variance =
        (a * all.powi(3) + b * all.powi(2) + c * all + d) / ((all - 1.0) * (all - 2.0) * (all - 3.0));
    let statistic = (squares - 1.0) / variance.sqrt();
    let [x2, x1, x0] = LOG_TAIL;
    let p_value = match statistic {
        x if x < 0.325 => 0.25,
        x if x > 6.546 => 0.001,
        x => (x2 * x * x + x1 * x + x0).exp(),
    };
    Test { statistic, p_value }
}
