//! Windows one after another: a budget of one false alarm in 30 windows, which drift and missing values have alone or,
//! as in the platform, three sixteenths of.

use crate::compare::Customary;
use crate::flights::{Column, Encoded, Flights, Layout, Random, Watch, day};
use crate::upper_limit;

const BUDGET: f64 = 1.0 / 30.0;
/// What drift and missing values of all columns may use of a budget: everything, and their share in the platform
/// (`steersman_watch::monitor::share`).
const SHARES: [f64; 2] = [1.0, 3.0 / 16.0];
const CELLS: usize = 10;

fn encode(flights: &Flights, rows: &[usize]) -> (Vec<Layout>, Vec<Encoded>) {
    let layouts: Vec<Layout> =
        flights.columns.iter().map(|column| Layout::learn(column, rows.iter().copied(), CELLS)).collect();
    let encoded =
        layouts.iter().zip(&flights.columns).map(|(layout, column)| layout.encode(column)).collect();
    (layouts, encoded)
}

/// Windows drawn from the whole year at random: nothing ever changes.
pub(crate) fn stationary(flights: &Flights) {
    println!("### Windows of a stationary stream\n");
    println!(
        "| rows a window | windows of the reference | checks | whole budget: alarms | rate | upper limit (95 %) | budget | three sixteenths: alarms | rate | upper limit (95 %) | budget |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let all: Vec<usize> = (0..flights.rows()).collect();
    let (_, encoded) = encode(flights, &all);
    for rows in [50, 200, 800, 2_000, 5_000] {
        for reference in [12, 30] {
            let (runs, length) = (100, 100);
            let mut alarms = [0; 2];
            for run in 0..runs {
                let mut random = Random((run * 1_000_003 + rows * 31 + reference) as u64);
                let mut draw = || -> Vec<usize> { (0..rows).map(|_| random.below(flights.rows())).collect() };
                let windows: Vec<Vec<usize>> = (0..reference).map(|_| draw()).collect();
                let mut watches = SHARES.map(|share| Watch::learn(&encoded, &windows, share * BUDGET));
                for _ in 0..length {
                    let rows = draw();
                    for (watch, alarms) in watches.iter_mut().zip(&mut alarms) {
                        *alarms += usize::from(watch.observe(&encoded, &rows).alarms);
                    }
                }
            }
            let checks = runs * length;
            let cells = |(alarms, share): (&usize, &f64)| {
                let rate = *alarms as f64 / checks as f64;
                format!("{alarms} | {rate:.4} | {:.4} | {:.4}", upper_limit(*alarms, checks), share * BUDGET)
            };
            let cells: Vec<String> = alarms.iter().zip(&SHARES).map(cells).collect();
            println!("| {rows} | {reference} | {checks} | {} |", cells.join(" | "));
        }
    }
    println!();
}

const PERIODS: [(&str, &str, &str, &str, &str); 7] = [
    ("January and February", "2013-01-01", "2013-03-01", "2013-09-09", "2013-11-19"),
    ("1 January to 8 September", "2013-01-01", "2013-09-09", "2013-09-09", "2013-11-19"),
    ("the 60 days before", "2013-07-11", "2013-09-09", "2013-09-09", "2013-11-19"),
    ("the 30 days before", "2013-08-10", "2013-09-09", "2013-09-09", "2013-11-19"),
    ("its first half (9 September to 13 October)", "2013-09-09", "2013-10-14", "2013-10-14", "2013-11-19"),
    ("January and February, until April", "2013-01-01", "2013-03-01", "2013-03-01", "2013-05-01"),
    ("January and February, rest of the year", "2013-01-01", "2013-03-01", "2013-03-01", "2014-01-01"),
];

/// Days of the real season, which drift harmlessly.
pub(crate) fn season(flights: &Flights) {
    println!("### Days of a steady season, 9 September to 18 November\n");
    println!(
        "| reference | days | KS / chi-square alarms | whole budget: alarms | budget | on (day: columns) | three sixteenths: alarms | budget | on |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |");
    for (name, from, to, first, last) in PERIODS {
        let reference = flights.daily(day(from), day(to));
        let end = if last == "2014-01-01" { 365 } else { day(last) };
        let days = flights.daily(day(first), end);
        let rows: Vec<usize> = reference.concat();
        let (_, encoded) = encode(flights, &rows);
        let customary =
            days.iter().filter(|day| crate::compare::customary_alarm(flights, &rows, day)).count();
        let cells = SHARES.map(|share| {
            let on = alarms_of_days(flights, &encoded, &reference, &days, share * BUDGET);
            format!("{} | {:.1} | {}", on.len(), days.len() as f64 * share * BUDGET, on.join("; "))
        });
        println!("| {name} | {} | {customary} | {} |", days.len(), cells.join(" | "));
    }
    println!();
}

/// The days with an alarm, and the columns that it names.
fn alarms_of_days(
    flights: &Flights,
    encoded: &[Encoded],
    reference: &[Vec<usize>],
    days: &[Vec<usize>],
    alpha: f64,
) -> Vec<String> {
    let mut watch = Watch::learn(encoded, reference, alpha);
    let mut on = Vec::new();
    for (number, rows) in days.iter().enumerate() {
        let verdict = watch.observe(encoded, rows);
        if verdict.alarms {
            let names: Vec<&str> =
                verdict.columns.iter().map(|&column| flights.columns[column].name.as_str()).collect();
            on.push(format!("{}: {}", number + 1, names.join(", ")));
        }
    }
    on
}

type Change = fn(usize, Option<f64>) -> Option<f64>;

/// One row in this many, at random but the same every time.
fn one_in(row: usize, many: u64) -> bool {
    (Random(row as u64).uniform() * many as f64) < 1.0
}

const GROSS: [(&str, &str, Change); 14] = [
    ("temperature in Celsius", "temp", |_, value| value.map(|x| (x - 32.0) / 1.8)),
    ("temperature + 3 sd", "temp", |_, value| value.map(|x| x + 54.0)),
    ("temperature missing", "temp", |_, _| None),
    ("humidity as a share", "humid", |_, value| value.map(|x| x / 100.0)),
    ("humidity stuck at 50", "humid", |_, value| value.map(|_| 50.0)),
    ("wind in another unit, tenfold", "wind_speed", |_, value| value.map(|x| x * 10.0)),
    ("visibility always 0", "visib", |_, value| value.map(|_| 0.0)),
    ("distance in kilometres", "distance", |_, value| value.map(|x| x * 1.609)),
    ("hour in UTC", "hour", |_, value| value.map(|x| (x + 5.0) % 24.0)),
    ("year 0 in 30 % of rows", "plane_year", |row, value| if one_in(row, 3) { Some(0.0) } else { value }),
    ("one carrier only", "carrier", |_, value| value.map(|_| 11.0)),
    ("unknown carrier in 30 %", "carrier", |row, value| if one_in(row, 3) { Some(99.0) } else { value }),
    ("destination missing in 30 %", "dest", |row, value| if one_in(row, 3) { None } else { value }),
    ("an airport that is never seen", "origin", |_, value| value.map(|x| x.max(1.0))),
];

/// Gross changes from a day in the steady season on.
pub(crate) fn gross(flights: &Flights) {
    for (share, words) in SHARES.into_iter().zip(["the whole budget", "three sixteenths of the budget"]) {
        println!("### Gross changes, 12 starts each, by the day on which they are found: {words}\n");
        println!(
            "| change | reference: 60 days before, day 1 | 2 | 3 to 7 | missed | 1 January to 8 September, day 1 | 2 | 3 to 7 | missed |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        for (name, column, change) in GROSS {
            let mut counts: Vec<String> = Vec::new();
            for from in ["2013-07-11", "2013-01-01"] {
                let found = delays(flights, from, column, change, share * BUDGET);
                for (first, last) in [(1, 1), (2, 2), (3, 7), (8, 99)] {
                    let inside = found.iter().filter(|&&delay| (first..=last).contains(&delay)).count();
                    counts.push(inside.to_string());
                }
            }
            println!("| {name} | {} |", counts.join(" | "));
        }
        println!();
    }
}

fn delays(flights: &Flights, from: &str, name: &str, change: Change, alpha: f64) -> Vec<usize> {
    let start = day("2013-09-09");
    let reference = flights.daily(day(from), start);
    let (layouts, encoded) = encode(flights, &reference.concat());
    let (_, mut changed) = encode(flights, &reference.concat());
    let at = flights.columns.iter().position(|column: &Column| column.name == name).unwrap();
    changed[at] = layouts[at].encode(&flights.columns[at].changed(change));
    (1..=12)
        .map(|placement| {
            let first = start + placement * 5;
            let mut watch = Watch::learn(&encoded, &reference, alpha);
            for rows in flights.daily(start, first) {
                watch.observe(&encoded, &rows);
            }
            let days = flights.daily(first, first + 7);
            days.iter().position(|rows| watch.observe(&changed, rows).alarms).map_or(99, |day| day + 1)
        })
        .collect()
}

const GRADED: [(&str, &str, Change); 6] = [
    ("humidity + 0.1 sd", "humid", |_, value| value.map(|x| x + 1.96)),
    ("humidity + 0.25 sd", "humid", |_, value| value.map(|x| x + 4.9)),
    ("distance, spread + 25 %", "distance", |_, value| value.map(|x| 1_044.0 + 1.25 * (x - 1_044.0))),
    ("5 % zeros in temperature", "temp", |row, value| if one_in(row, 20) { Some(0.0) } else { value }),
    ("5 % of rows to one carrier", "carrier", |row, value| if one_in(row, 20) { Some(11.0) } else { value }),
    ("10 % of destinations missing", "dest", |row, value| if one_in(row, 10) { None } else { value }),
];

/// Graded changes of a stationary stream. The customary rule looks at the changed column alone, at its Bonferroni level,
/// in every window; so within some windows it may alarm falsely more often than once in that many.
pub(crate) fn graded(flights: &Flights) {
    let all: Vec<usize> = (0..flights.rows()).collect();
    let (layouts, encoded) = encode(flights, &all);
    let (_, mut changed) = encode(flights, &all);
    for rows in [200, 800] {
        println!(
            "### Graded changes of a stationary stream, windows of {rows} rows until found (30 reference windows, 60 runs)\n"
        );
        println!(
            "| change | KS / chi-square, Bonferroni 0.001: within 1 | within 5 | within 20 | whole budget: within 1 | within 5 | within 20 | three sixteenths: within 1 | within 5 | within 20 |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        for (name, column, change) in GRADED {
            let at = flights.columns.iter().position(|own| own.name == column).unwrap();
            let moved = flights.columns[at].changed(change);
            let before = std::mem::replace(&mut changed[at], layouts[at].encode(&moved));
            let mut found: [Vec<usize>; 3] = Default::default();
            for run in 0..60u64 {
                let mut random = Random(run * 7_919 + rows as u64);
                let mut draw = || -> Vec<usize> { (0..rows).map(|_| random.below(flights.rows())).collect() };
                let windows: Vec<Vec<usize>> = (0..30).map(|_| draw()).collect();
                let ordinary: Vec<Vec<usize>> = (0..10).map(|_| draw()).collect();
                let after: Vec<Vec<usize>> = (0..20).map(|_| draw()).collect();
                let customary = Customary::of(flights, at, &moved, &windows.concat());
                let first = |finds: &mut dyn FnMut(&[usize]) -> bool| {
                    after.iter().position(|rows| finds(rows)).map_or(99, |window| window + 1)
                };
                found[0].push(first(&mut |rows| customary.finds(rows)));
                for (share, found) in SHARES.into_iter().zip(&mut found[1..]) {
                    let mut watch = Watch::learn(&encoded, &windows, share * BUDGET);
                    ordinary.iter().for_each(|rows| drop(watch.observe(&encoded, rows)));
                    found.push(first(&mut |rows| watch.observe(&changed, rows).alarms));
                }
            }
            let shares = found.iter().flat_map(|found| {
                [1, 5, 20].map(|within| {
                    let count = found.iter().filter(|&&windows| windows <= within).count();
                    format!("{:.2}", count as f64 / found.len() as f64)
                })
            });
            println!("| {name} | {} |", shares.collect::<Vec<String>>().join(" | "));
            changed[at] = before;
        }
        println!();
    }
}
