// The sum of weights.

/** Σ of f32 [n]; NaN where one of them is negative, infinite or NaN. */
export function total(address: usize, n: i32): f64 {
  let sum: f64 = 0;
  for (let i = 0; i < n; i++) {
    const weight = <f64>load<f32>(address + ((<usize>i) << 2));
    if (!(weight >= 0 && weight < Infinity)) return NaN;
    sum += weight;
  }
  return sum;
}
