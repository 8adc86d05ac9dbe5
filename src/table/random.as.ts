// library
// Counter-based random numbers: a row's first weights are a function of (seed, key, field, element) alone, so any thread
// that makes the row makes the same row.
import { FILL, INIT, INIT_BYTES, INIT_COUNT, INIT_KIND, INIT_LENGTH, INIT_OFFSET, INIT_SCALE, INIT_STREAM, SEED, UNIFORM } from "./control";

// Moremur (Pelle Evensen), a bijection of 64 bits with full avalanche; 0 stays 0.
// @ts-ignore: decorator
@inline
export function mix64(key: u64): u64 {
  key ^= key >> 27;
  key *= 0x3c79ac492ba7b653;
  key ^= key >> 33;
  key *= 0x1c69b3f74ac4ae35;
  return key ^ (key >> 27);
}

/** Writes a new row of `key` at `row`. */
export function initRow(control: usize, key: u64, row: usize): void {
  const hash = mix64(key ^ load<u64>(control, SEED));
  let entry = control + INIT;
  for (let i = load<i32>(control, INIT_COUNT); i > 0; i--) {
    const kind = load<i32>(entry, INIT_KIND);
    const target = row + load<u32>(entry, INIT_OFFSET);
    const length = load<i32>(entry, INIT_LENGTH);
    const scale = load<f32>(entry, INIT_SCALE);
    if (kind == FILL) fill(target, length, scale);
    else {
      const stream = mix64(hash + (<u64>load<u32>(entry, INIT_STREAM) + 1) * 0x9e3779b97f4a7c15);
      if (kind == UNIFORM) fillUniform(target, length, scale, stream);
      else fillNormal(target, length, scale, stream);
    }
    entry += INIT_BYTES;
  }
}

function fill(target: usize, length: i32, value: f32): void {
  for (; length >= 4; length -= 4, target += 16) v128.store(target, f32x4.splat(value));
  for (; length > 0; length--, target += 4) store<f32>(target, value);
}

// The low-bias 32-bit hash of Chris Wellons over the element's number, with the key's high half mixed in half way.
// @ts-ignore: decorator
@inline
function bits4(element: v128, low: v128, high: v128): v128 {
  let x = i32x4.add(low, i32x4.mul(element, i32x4.splat(0x9e3779b9)));
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 16)), i32x4.splat(0x7feb352d));
  x = v128.xor(x, high);
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 15)), i32x4.splat(<i32>0x846ca68b));
  return i32x4.shr_u(v128.xor(x, i32x4.shr_u(x, 16)), 8);
}

/** Uniform in (-scale, scale). */
function fillUniform(target: usize, length: i32, scale: f32, stream: u64): void {
  const low = i32x4.splat(<i32>stream);
  const high = i32x4.splat(<i32>(stream >> 32));
  const unit = f32x4.splat(scale * <f32>(1.0 / 8388608.0));
  let element = i32x4(1, 2, 3, 4);
  for (; length > 0; length -= 4, target += 16) {
    const centred = f32x4.sub(f32x4.convert_i32x4_u(bits4(element, low, high)), f32x4.splat(8388607.5));
    const value = f32x4.mul(centred, unit);
    if (length >= 4) v128.store(target, value);
    else {
      store<f32>(target, f32x4.extract_lane(value, 0));
      if (length > 1) store<f32>(target, f32x4.extract_lane(value, 1), 4);
      if (length > 2) store<f32>(target, f32x4.extract_lane(value, 2), 8);
    }
    element = i32x4.add(element, i32x4.splat(4));
  }
}

/** Normal with mean 0 and standard deviation `scale`. */
function fillNormal(target: usize, length: i32, scale: f32, stream: u64): void {
  const low = i32x4.splat(<i32>stream);
  const high = i32x4.splat(<i32>(stream >> 32));
  for (let i = 0; i < length; i++, target += 4) {
    const bits = i32x4.extract_lane(bits4(i32x4.splat(i + 1), low, high), 0);
    store<f32>(target, <f32>(normalQuantile((<f64>bits + 0.5) / 16777216.0) * <f64>scale));
  }
}

/** The inverse of the normal distribution function, by Peter Acklam's rational approximation (relative error 1.2e-9). */
function normalQuantile(p: f64): f64 {
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = sqrt<f64>(-2 * logarithm(p));
    return (
      (((((-7.784894002430293e-3 * q - 3.223964580411365e-1) * q - 2.400758277161838) * q - 2.549732539343734) * q +
        4.374664141464968) * q + 2.938163982698783) /
      ((((7.784695709041462e-3 * q + 3.224671290700398e-1) * q + 2.445134137142996) * q + 3.754408661907416) * q + 1)
    );
  }
  const q = p - 0.5;
  const r = q * q;
  return (
    ((((((-3.969683028665376e1 * r + 2.209460984245205e2) * r - 2.759285104469687e2) * r + 1.38357751867269e2) * r -
      3.066479806614716e1) * r + 2.506628277459239) * q) /
    (((((-5.447609879822406e1 * r + 1.615858368580409e2) * r - 1.556989798598866e2) * r + 6.680131188771972e1) * r -
      1.328068155288572e1) * r + 1)
  );
}

/** The natural logarithm of a normal positive number, by the series of 2·artanh. */
function logarithm(x: f64): f64 {
  const bits = reinterpret<u64>(x);
  const exponent = <f64>(<i32>(bits >> 52) - 1023);
  const mantissa = reinterpret<f64>((bits & 0xfffffffffffff) | 0x3ff0000000000000);
  const s = (mantissa - 1) / (mantissa + 1);
  const t = s * s;
  let sum: f64 = 0;
  for (let k = 29; k > 0; k -= 2) sum = sum * t + 1 / <f64>k;
  return exponent * 0.6931471805599453 + 2 * s * sum;
}
