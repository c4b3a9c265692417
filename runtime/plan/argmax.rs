/// The index of the largest element, the lowest among equals: how `Op::Argmax` and a greedy choice on the host break ties. NaN is
/// never the largest.
pub fn argmax(x: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in x.iter().enumerate() {
        if *v > x[best] || x[best].is_nan() {
            best = i;
        }
    }
    best
}
