// Between the variances that oneDNN's norms speak of and the reciprocal standard deviations that the program keeps.

/** Replaces each of `count` variances by 1 / √(variance + epsilon). */
export function invert(count: i32, address: usize, epsilon: f32): void {
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const at = address + ((<usize>i) << 2);
    v128.store(at, f32x4.div(f32x4.splat(1), f32x4.sqrt(f32x4.add(v128.load(at), f32x4.splat(epsilon)))));
  }
  for (; i < count; i++) {
    const at = address + ((<usize>i) << 2);
    store<f32>(at, <f32>1 / sqrt<f32>(load<f32>(at) + epsilon));
  }
}

/** Writes 1 / rstd² of each of `count` numbers: the variance with epsilon in it. */
export function spread(count: i32, rstd: usize, variance: usize): void {
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const offset = (<usize>i) << 2;
    const value = v128.load(rstd + offset);
    v128.store(variance + offset, f32x4.div(f32x4.splat(1), f32x4.mul(value, value)));
  }
  for (; i < count; i++) {
    const offset = (<usize>i) << 2;
    const value = load<f32>(rstd + offset);
    store<f32>(variance + offset, <f32>1 / (value * value));
  }
}
