//! The best schedules in hindsight: a bound for every policy that trains and serves at once.

use super::table::{Table, Window};
use steersman_domain::tuning::BestSchedule;

/// The best schedules with at most `0..=most` retrainings, exactly, by dynamic programming.
///
/// `costs[a][t]` is the summed loss in chunk `t` of the model that serves from chunk `a` on. With `k` retrainings the cost
/// of the chunks before `b` is `D(k, b) = min over a < b of D(k - 1, a) + costs[a][a..b]`, where `D(0, b)` is that of
/// the first model: `O(k T^2)`.
pub(super) fn schedules(costs: &[Vec<f64>], most: usize) -> Vec<(f64, Vec<usize>)> {
    let count = costs.len();
    // Sums of costs of the model from `a` on over the chunks before `b`.
    let sums: Vec<Vec<f64>> = costs
        .iter()
        .enumerate()
        .map(|(from, row)| {
            let mut sum = vec![0.0; count + 1];
            for chunk in from..count {
                sum[chunk + 1] = sum[chunk] + row[chunk];
            }
            sum
        })
        .collect();
    let Some(never) = sums.first() else { return Vec::new() };
    let mut cost: Vec<f64> = never.clone();
    let mut found = vec![(cost[count], Vec::new())];
    // Where the last retraining before `b` is, with so many of them; 0 where there is none.
    let mut choices: Vec<Vec<usize>> = vec![vec![0; count + 1]];
    for _ in 0..most {
        let mut next = cost.clone();
        let mut choice = vec![0; count + 1];
        // Keeping to fewer retrainings is allowed; it is marked by `usize::MAX`.
        choice.iter_mut().for_each(|place| *place = usize::MAX);
        for until in 1..=count {
            for from in 1..until {
                let total = cost[from] + sums[from][until];
                if total < next[until] {
                    (next[until], choice[until]) = (total, from);
                }
            }
        }
        cost = next;
        choices.push(choice);
        let mut at = Vec::new();
        let mut until = count;
        for choice in choices.iter().skip(1).rev() {
            if until > 0 && choice[until] != usize::MAX {
                until = choice[until];
                at.push(until);
            }
        }
        at.reverse();
        found.push((cost[count], at));
    }
    found
}

/// The summed loss of the better window's model, by chunk from which it serves and chunk.
pub(super) fn costs(table: &Table) -> Vec<Vec<Vec<f64>>> {
    let count = table.chunks.len();
    let of = |window: Window| {
        let cost = |from: usize, chunk: usize| {
            let rows = table.chunks.get(chunk).map_or(0, |rows| rows.len()) as f64;
            if chunk < from { 0.0 } else { rows * table.chunk_loss((table.holdout + from, window), chunk) }
        };
        (0..count).map(|from| (0..count).map(|chunk| cost(from, chunk)).collect()).collect()
    };
    Window::ALL.into_iter().map(of).collect()
}

/// The best of both windows for each number of retrainings that is shown; the last entry is the best of all. Windows are
/// not mixed within a schedule.
pub(super) fn best(table: &Table) -> Vec<BestSchedule> {
    let rows: f64 = table.chunks.iter().map(|rows| rows.len() as f64).sum();
    let most = table.chunks.len().saturating_sub(1);
    let by_window: Vec<Vec<(f64, Vec<usize>)>> =
        costs(table).iter().map(|costs| schedules(costs, most)).collect();
    let at = |trainings: usize| {
        let found = by_window.iter().filter_map(|found| found.get(trainings));
        found.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(cost, at)| BestSchedule {
            trainings,
            loss: cost / rows.max(1.0),
            at: at.clone(),
        })
    };
    let mut shown: Vec<usize> = [1, 2, 4, 8, 16, 32].into_iter().filter(|&count| count < most).collect();
    let needed = at(most).map_or(0, |found| found.at.len());
    shown.retain(|&count| count < needed);
    shown.push(needed);
    shown.into_iter().filter_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::schedules;

    /// All schedules, one by one.
    fn brute(costs: &[Vec<f64>], most: usize) -> f64 {
        let count = costs.len();
        (0u32..1 << (count - 1))
            .filter(|chosen| chosen.count_ones() as usize <= most)
            .map(|chosen| {
                let mut serving = 0;
                let chunk = |chunk: usize| {
                    if chunk > 0 && chosen >> (chunk - 1) & 1 == 1 {
                        serving = chunk;
                    }
                    costs[serving][chunk]
                };
                (0..count).map(chunk).sum()
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_best_schedules_are_those_of_trying_all() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24)
        };
        for count in [1, 2, 5, 9] {
            let costs: Vec<Vec<f64>> = (0..count).map(|_| (0..count).map(|_| random()).collect()).collect();
            for (most, (cost, at)) in schedules(&costs, count - 1).into_iter().enumerate() {
                assert!((cost - brute(&costs, most)).abs() < 1e-12, "{count} chunks, {most} retrainings");
                let mut serving = 0;
                let walked: f64 = (0..count)
                    .map(|chunk| {
                        serving = if at.contains(&chunk) { chunk } else { serving };
                        costs[serving][chunk]
                    })
                    .sum();
                assert!(at.len() <= most && (walked - cost).abs() < 1e-12, "{at:?}");
            }
        }
    }
}
