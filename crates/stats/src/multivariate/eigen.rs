//! Eigenvalues and eigenvectors of a symmetric matrix.

/// More sweeps than any matrix needs: convergence is quadratic, 6 to 10 sweeps are usual.
const MOST_SWEEPS: usize = 64;

/// Eigenvalues, falling, each with its eigenvector of length 1, of the symmetric matrix given by its rows.
///
/// Cyclic Jacobi rotations (Golub and Van Loan, *Matrix Computations*, 4th ed., section 8.5): `O(d^3)` a sweep, and
/// accurate also where eigenvalues are small or equal. A vector's sign is chosen so that its entry of largest magnitude
/// is positive.
pub(super) fn symmetric(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let size = matrix.len();
    // Row i of `vectors` becomes the eigenvector of the i-th diagonal entry.
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|i| (0..size).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let norm: f64 = matrix.iter().flatten().map(|entry| entry * entry).sum();
    for _ in 0..MOST_SWEEPS {
        let beside: f64 =
            (0..size).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| matrix[i][j].powi(2)).sum();
        if beside <= f64::EPSILON * f64::EPSILON * norm {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                if matrix[p][q] != 0.0 {
                    rotate(&mut matrix, &mut vectors, p, q);
                }
            }
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> =
        vectors.into_iter().enumerate().map(|(i, vector)| (matrix[i][i], upright(vector))).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs
}

/// Rotates rows and columns `p < q` so that their common entry vanishes.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let tau = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = tau.signum() / (tau.abs() + tau.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for row in matrix.iter_mut() {
        let (a, b) = (row[p], row[q]);
        row[p] = cosine * a - sine * b;
        row[q] = sine * a + cosine * b;
    }
    for rows in [matrix, vectors] {
        let (upper, lower) = rows.split_at_mut(q);
        for (a, b) in upper[p].iter_mut().zip(lower[0].iter_mut()) {
            (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
        }
    }
}

fn upright(mut vector: Vec<f64>) -> Vec<f64> {
    let largest = vector
        .iter()
        .copied()
        .fold(0.0f64, |best, entry| if entry.abs() > best.abs() { entry } else { best });
    if largest < 0.0 {
        for entry in &mut vector {
            *entry = -*entry;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::symmetric;

    #[test]
    fn a_known_matrix() {
        let pairs = symmetric(vec![vec![2.0, 1.0], vec![1.0, 2.0]]);
        let half = 0.5f64.sqrt();
        assert!((pairs[0].0 - 3.0).abs() < 1e-15 && (pairs[1].0 - 1.0).abs() < 1e-15);
        assert!(pairs[0].1.iter().all(|entry| (entry - half).abs() < 1e-15));
    }

    #[test]
    fn vectors_are_orthonormal_and_give_the_matrix_back() {
        let entry = |i: usize, j: usize| ((i * j + i + j) as f64).sin() + f64::from(u8::from(i == j));
        for size in [1, 3, 40] {
            let matrix: Vec<Vec<f64>> = (0..size).map(|i| (0..size).map(|j| entry(i, j)).collect()).collect();
            let pairs = symmetric(matrix.clone());
            assert!(pairs.windows(2).all(|pair| pair[0].0 >= pair[1].0));
            for i in 0..size {
                for j in 0..size {
                    let again: f64 = pairs.iter().map(|(value, vector)| value * vector[i] * vector[j]).sum();
                    assert!((again - matrix[i][j]).abs() < 1e-13, "{again} {}", matrix[i][j]);
                    let product: f64 = pairs[i].1.iter().zip(&pairs[j].1).map(|(a, b)| a * b).sum();
                    assert!((product - f64::from(u8::from(i == j))).abs() < 1e-13);
                }
            }
        }
    }
}
