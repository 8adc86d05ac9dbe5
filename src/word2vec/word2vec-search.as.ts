// variants: relaxed
// The rows of a matrix that are nearest to queries, by cosine.
import { madd } from "../engine/providers/wasm/gemm-tile.as";

// @ts-ignore: decorator
@inline function sumLanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** scales[i] = 1 / length of row i, 0 of a row of zeros. */
export function inverseLengths(matrix: usize, rows: u32, rowBytes: usize, scales: usize): void {
  for (; rows > 0; rows--, matrix += rowBytes, scales += 4) {
    let sum = f32x4.splat(0);
    for (let k: usize = 0; k < rowBytes; k += 16) {
      const x = v128.load(matrix + k);
      sum = madd(x, x, sum);
    }
    const length = <f32>Math.sqrt(<f64>sumLanes(sum));
    store<f32>(scales, length > 0 ? <f32>1 / length : 0);
  }
}

/** Products of eight queries [8, rowBytes] with rows, times the rows' scales: scores [8, rows]. */
export function scores(matrix: usize, rows: usize, rowBytes: usize, scales: usize, queries: usize, out: usize): void {
  const q1 = queries + rowBytes, q2 = q1 + rowBytes, q3 = q2 + rowBytes;
  const q4 = q3 + rowBytes, q5 = q4 + rowBytes, q6 = q5 + rowBytes, q7 = q6 + rowBytes;
  const line = rows << 2;
  const zero = f32x4.splat(0);
  for (let row: usize = 0; row < rows; row++, matrix += rowBytes) {
    let s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero;
    for (let k: usize = 0; k < rowBytes; k += 16) {
      const x = v128.load(matrix + k);
      s0 = madd(x, v128.load(queries + k), s0);
      s1 = madd(x, v128.load(q1 + k), s1);
      s2 = madd(x, v128.load(q2 + k), s2);
      s3 = madd(x, v128.load(q3 + k), s3);
      s4 = madd(x, v128.load(q4 + k), s4);
      s5 = madd(x, v128.load(q5 + k), s5);
      s6 = madd(x, v128.load(q6 + k), s6);
      s7 = madd(x, v128.load(q7 + k), s7);
    }
    const scale = load<f32>(scales + (row << 2));
    let at = out + (row << 2);
    store<f32>(at, scale * sumLanes(s0)); at += line;
    store<f32>(at, scale * sumLanes(s1)); at += line;
    store<f32>(at, scale * sumLanes(s2)); at += line;
    store<f32>(at, scale * sumLanes(s3)); at += line;
    store<f32>(at, scale * sumLanes(s4)); at += line;
    store<f32>(at, scale * sumLanes(s5)); at += line;
    store<f32>(at, scale * sumLanes(s6)); at += line;
    store<f32>(at, scale * sumLanes(s7));
  }
}

/** The places of the `count` largest of `values` [n] in `places`, the largest first. */
export function largest(values: usize, n: u32, count: u32, places: usize): void {
  let found: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const value = load<f32>(values + (<usize>i << 2));
    if (found == count && !(value > load<f32>(values + (<usize>load<u32>(places + (<usize>(count - 1) << 2)) << 2)))) continue;
    let at = found < count ? found++ : count - 1;
    for (; at > 0; at--) {
      const before = load<u32>(places + (<usize>(at - 1) << 2));
      if (!(value > load<f32>(values + (<usize>before << 2)))) break;
      store<u32>(places + (<usize>at << 2), before);
    }
    store<u32>(places + (<usize>at << 2), i);
  }
}
