// variants: relaxed
// One step of an LSTM or GRU over a batch, and its gradient; gates lie side by side in each row, in PyTorch's order.
import { sigmoid4, tanh4 } from "../providers/wasm/activation.as";

// A vector of four elements, or one element in every lane.
@inline function take(at: usize, whole: bool): v128 {
  return whole ? v128.load(at) : v128.load32_splat(at);
}
@inline function put(at: usize, value: v128, whole: bool): void {
  if (whole) v128.store(at, value);
  else v128.store_lane<f32>(at, value, 0);
}
@inline function oneMinus(x: v128): v128 {
  return f32x4.sub(f32x4.splat(1), x);
}

// gates [B,4H] before activation i, f, g, o → activated in place; c = f·cPrev + i·g; h = o·tanh(c).
export function lstmCell(gates: usize, cPrev: usize, c: usize, h: usize, rows: usize, units: usize): void {
  const bytes = units << 2;
  for (let row: usize = 0; row < rows; row++, gates += bytes << 2, cPrev += bytes, c += bytes, h += bytes) {
    for (let j: usize = 0; j < bytes; ) {
      const whole = j + 16 <= bytes;
      const i = sigmoid4(take(gates + j, whole));
      const f = sigmoid4(take(gates + bytes + j, whole));
      const g = tanh4(take(gates + 2 * bytes + j, whole));
      const o = sigmoid4(take(gates + 3 * bytes + j, whole));
      const next = f32x4.add(f32x4.mul(f, take(cPrev + j, whole)), f32x4.mul(i, g));
      put(gates + j, i, whole);
      put(gates + bytes + j, f, whole);
      put(gates + 2 * bytes + j, g, whole);
      put(gates + 3 * bytes + j, o, whole);
      put(c + j, next, whole);
      put(h + j, f32x4.mul(o, tanh4(next)), whole);
      j += whole ? 16 : 4;
    }
  }
}

// dy + dh and dc of this step's results → dgates before activation, and dc of the step before in place of dc.
export function lstmCellGrad(
  dy: usize, dh: usize, gates: usize, c: usize, cPrev: usize, dc: usize, dgates: usize, rows: usize, units: usize,
): void {
  const bytes = units << 2;
  for (let row: usize = 0; row < rows; row++) {
    for (let j: usize = 0; j < bytes; ) {
      const whole = j + 16 <= bytes;
      const i = take(gates + j, whole);
      const f = take(gates + bytes + j, whole);
      const g = take(gates + 2 * bytes + j, whole);
      const o = take(gates + 3 * bytes + j, whole);
      const t = tanh4(take(c + j, whole));
      const d = f32x4.add(take(dy + j, whole), take(dh + j, whole));
      const cell = f32x4.add(take(dc + j, whole), f32x4.mul(f32x4.mul(d, o), oneMinus(f32x4.mul(t, t))));
      put(dgates + j, f32x4.mul(f32x4.mul(cell, g), f32x4.mul(i, oneMinus(i))), whole);
      put(dgates + bytes + j, f32x4.mul(f32x4.mul(cell, take(cPrev + j, whole)), f32x4.mul(f, oneMinus(f))), whole);
      put(dgates + 2 * bytes + j, f32x4.mul(f32x4.mul(cell, i), oneMinus(f32x4.mul(g, g))), whole);
      put(dgates + 3 * bytes + j, f32x4.mul(f32x4.mul(d, t), f32x4.mul(o, oneMinus(o))), whole);
      put(dc + j, f32x4.mul(cell, f), whole);
      j += whole ? 16 : 4;
    }
    gates += bytes << 2;
    dgates += bytes << 2;
    dy += bytes;
    dh += bytes;
    c += bytes;
    cPrev += bytes;
    dc += bytes;
  }
}

// xw and hw [B,3H] of r, z, n → gates [B,4H]: r, z, n activated and hw's part of n; h = (1 − z)·n + z·hPrev.
export function gruCell(xw: usize, hw: usize, hPrev: usize, gates: usize, h: usize, rows: usize, units: usize): void {
  const bytes = units << 2;
  for (let row: usize = 0; row < rows; row++) {
    for (let j: usize = 0; j < bytes; ) {
      const whole = j + 16 <= bytes;
      const r = sigmoid4(f32x4.add(take(xw + j, whole), take(hw + j, whole)));
      const z = sigmoid4(f32x4.add(take(xw + bytes + j, whole), take(hw + bytes + j, whole)));
      const own = take(hw + 2 * bytes + j, whole);
      const n = tanh4(f32x4.add(take(xw + 2 * bytes + j, whole), f32x4.mul(r, own)));
      put(gates + j, r, whole);
      put(gates + bytes + j, z, whole);
      put(gates + 2 * bytes + j, n, whole);
      put(gates + 3 * bytes + j, own, whole);
      put(h + j, f32x4.add(f32x4.mul(oneMinus(z), n), f32x4.mul(z, take(hPrev + j, whole))), whole);
      j += whole ? 16 : 4;
    }
    xw += 3 * bytes;
    hw += 3 * bytes;
    gates += bytes << 2;
    hPrev += bytes;
    h += bytes;
  }
}

// dh of this step's result → dxw and dhw [B,3H], and the part of the gradient that goes straight to hPrev in place of dh.
export function gruCellGrad(
  dh: usize, gates: usize, hPrev: usize, dxw: usize, dhw: usize, rows: usize, units: usize,
): void {
  const bytes = units << 2;
  for (let row: usize = 0; row < rows; row++) {
    for (let j: usize = 0; j < bytes; ) {
      const whole = j + 16 <= bytes;
      const r = take(gates + j, whole);
      const z = take(gates + bytes + j, whole);
      const n = take(gates + 2 * bytes + j, whole);
      const own = take(gates + 3 * bytes + j, whole);
      const d = take(dh + j, whole);
      const dz = f32x4.mul(f32x4.mul(d, f32x4.sub(take(hPrev + j, whole), n)), f32x4.mul(z, oneMinus(z)));
      const dn = f32x4.mul(f32x4.mul(d, oneMinus(z)), oneMinus(f32x4.mul(n, n)));
      const dr = f32x4.mul(f32x4.mul(dn, own), f32x4.mul(r, oneMinus(r)));
      put(dxw + j, dr, whole);
      put(dxw + bytes + j, dz, whole);
      put(dxw + 2 * bytes + j, dn, whole);
      put(dhw + j, dr, whole);
      put(dhw + bytes + j, dz, whole);
      put(dhw + 2 * bytes + j, f32x4.mul(dn, r), whole);
      put(dh + j, f32x4.mul(d, z), whole);
      j += whole ? 16 : 4;
    }
    dxw += 3 * bytes;
    dhw += 3 * bytes;
    gates += bytes << 2;
    hPrev += bytes;
    dh += bytes;
  }
}

// to += from over n numbers.
export function addTo(to: usize, from: usize, n: usize): void {
  const end = to + (n << 2);
  for (; to + 16 <= end; to += 16, from += 16) v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
  for (; to < end; to += 4, from += 4) store<f32>(to, load<f32>(to) + load<f32>(from));
}

export function copy(to: usize, from: usize, bytes: usize): void {
  memory.copy(to, from, bytes);
}

export function clear(to: usize, bytes: usize): void {
  memory.fill(to, 0, bytes);
}
