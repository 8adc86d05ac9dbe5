// Second-order factorisation machine (Rendle 2010): y = 0.5 · Σ_d ((Σ_f x)² − Σ_f x²) over x [batch, fields, dim].
import { sumLanes } from "./lanes.as";

export function fm(x: usize, y: usize, sum: usize, batch: usize, fields: usize, dim: usize): void {
  const rowBytes = dim << 2;
  const wide = rowBytes & ~63;
  const vectors = rowBytes & ~15;
  const zero = f32x4.splat(0);
  for (let b: usize = 0; b < batch; b++) {
    const end = x + fields * rowBytes;
    let total4 = zero;
    let i: usize = 0;
    for (; i < wide; i += 64) {
      let s0 = zero;
      let s1 = zero;
      let s2 = zero;
      let s3 = zero;
      let q0 = zero;
      let q1 = zero;
      for (let p = x + i; p < end; p += rowBytes) {
        const a = v128.load(p);
        const c = v128.load(p, 16);
        const d = v128.load(p, 32);
        const e = v128.load(p, 48);
        s0 = f32x4.add(s0, a);
        s1 = f32x4.add(s1, c);
        s2 = f32x4.add(s2, d);
        s3 = f32x4.add(s3, e);
        q0 = f32x4.add(q0, f32x4.add(f32x4.mul(a, a), f32x4.mul(c, c)));
        q1 = f32x4.add(q1, f32x4.add(f32x4.mul(d, d), f32x4.mul(e, e)));
      }
      v128.store(sum + i, s0);
      v128.store(sum + i, s1, 16);
      v128.store(sum + i, s2, 32);
      v128.store(sum + i, s3, 48);
      const squares = f32x4.add(
        f32x4.add(f32x4.mul(s0, s0), f32x4.mul(s1, s1)),
        f32x4.add(f32x4.mul(s2, s2), f32x4.mul(s3, s3)),
      );
      total4 = f32x4.add(total4, f32x4.sub(squares, f32x4.add(q0, q1)));
    }
    for (; i < vectors; i += 16) {
      let s = zero;
      let q = zero;
      for (let p = x + i; p < end; p += rowBytes) {
        const a = v128.load(p);
        s = f32x4.add(s, a);
        q = f32x4.add(q, f32x4.mul(a, a));
      }
      v128.store(sum + i, s);
      total4 = f32x4.add(total4, f32x4.sub(f32x4.mul(s, s), q));
    }
    let total = sumLanes(total4);
    for (; i < rowBytes; i += 4) {
      let s: f32 = 0;
      let q: f32 = 0;
      for (let p = x + i; p < end; p += rowBytes) {
        const a = load<f32>(p);
        s += a;
        q += a * a;
      }
      store<f32>(sum + i, s);
      total += s * s - q;
    }
    store<f32>(y, <f32>0.5 * total);
    x = end;
    y += 4;
    sum += rowBytes;
  }
}

// dx[b, f] = dy[b] · (sum[b] − x[b, f]); dx may lie over x.
export function fmGrad(dy: usize, x: usize, sum: usize, dx: usize, batch: usize, fields: usize, dim: usize): void {
  const rowBytes = dim << 2;
  const wide = rowBytes & ~63;
  const vectors = rowBytes & ~15;
  const shift = dx - x;
  for (let b: usize = 0; b < batch; b++) {
    const end = x + fields * rowBytes;
    const d = load<f32>(dy);
    const d4 = f32x4.splat(d);
    let i: usize = 0;
    for (; i < wide; i += 64) {
      const s0 = v128.load(sum + i);
      const s1 = v128.load(sum + i, 16);
      const s2 = v128.load(sum + i, 32);
      const s3 = v128.load(sum + i, 48);
      for (let p = x + i; p < end; p += rowBytes) {
        const q = p + shift;
        v128.store(q, f32x4.mul(d4, f32x4.sub(s0, v128.load(p))));
        v128.store(q, f32x4.mul(d4, f32x4.sub(s1, v128.load(p, 16))), 16);
        v128.store(q, f32x4.mul(d4, f32x4.sub(s2, v128.load(p, 32))), 32);
        v128.store(q, f32x4.mul(d4, f32x4.sub(s3, v128.load(p, 48))), 48);
      }
    }
    for (; i < vectors; i += 16) {
      const s = v128.load(sum + i);
      for (let p = x + i; p < end; p += rowBytes) v128.store(p + shift, f32x4.mul(d4, f32x4.sub(s, v128.load(p))));
    }
    for (; i < rowBytes; i += 4) {
      const s = load<f32>(sum + i);
      for (let p = x + i; p < end; p += rowBytes) store<f32>(p + shift, d * (s - load<f32>(p)));
    }
    x = end;
    dy += 4;
    sum += rowBytes;
  }
}
