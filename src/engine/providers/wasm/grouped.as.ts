// variants: relaxed
// Convolutions of few channels a group, depthwise ones above all, straight from NHWC pictures: results of four
// pixels stay in registers while the window runs. Matrix products would be too narrow to pay for copies of the windows.
import { madd } from "./gemm-tile.as";

const LANES: i32 = 4;
/** Vectors of results side by side. */
const VECTORS: i32 = 4;

/** What meets a vector of weights: the same channels where each is a group of its own, else one channel of its group. */
// @ts-ignore: decorator
@inline
function spread(at: usize, depthwise: bool): v128 {
  return depthwise ? v128.load(at) : v128.load_splat<f32>(at);
}

/** Bytes from the first channel to that of the group of result `o`. */
// @ts-ignore: decorator
@inline
function groupOffset(o: i32, perGroup: i32, outPerGroup: i32): usize {
  return <usize>(o / outPerGroup * perGroup) << 2;
}

// @ts-ignore: decorator
@inline
function finish(two: bool, to: usize, r: v128, s: v128, floor: v128): void {
  v128.store(to, f32x4.pmax(r, floor));
  if (two) v128.store(to, f32x4.pmax(s, floor), 16);
}

/**
 * One or four pixels' results, one or two vectors of them, at `to` and every `toStep` bytes. `from` is where the first
 * pixel's first element of the kernel lies, or a channel of it, `second` bytes before that of the second vector; other pixels
 * lie `pixelStep` bytes apart. The loops run over `rows` and `columns` of the kernel and `perGroup` channels.
 */
// @ts-ignore: decorator
@inline
function tile(
  four: bool, two: bool, depthwise: bool, from: usize, second: usize, pixelStep: usize, w: usize, to: usize, toStep: usize,
  bias: usize, floor: v128, rows: i32, rowX: usize, rowW: usize, columns: i32, columnX: usize, columnW: usize,
  perGroup: i32, outBytes: usize,
): void {
  let r0 = bias ? v128.load(bias) : f32x4.splat(0), s0 = r0;
  if (two && bias) s0 = v128.load(bias, 16);
  let r1 = r0, s1 = s0, r2 = r0, s2 = s0, r3 = r0, s3 = s0;
  for (let ky = 0; ky < rows; ky++, from += rowX, w += rowW) {
    let at = from;
    let tap = w;
    for (let kx = 0; kx < columns; kx++, at += columnX, tap += columnW) {
      let p0 = at;
      let q = tap;
      let left = perGroup;
      do {
        const w0 = v128.load(q), w1 = two ? v128.load(q, 16) : w0;
        r0 = madd(spread(p0, depthwise), w0, r0);
        if (two) s0 = madd(spread(p0 + second, depthwise), w1, s0);
        if (four) {
          const p1 = p0 + pixelStep, p2 = p1 + pixelStep, p3 = p2 + pixelStep;
          r1 = madd(spread(p1, depthwise), w0, r1);
          if (two) s1 = madd(spread(p1 + second, depthwise), w1, s1);
          r2 = madd(spread(p2, depthwise), w0, r2);
          if (two) s2 = madd(spread(p2 + second, depthwise), w1, s2);
          r3 = madd(spread(p3, depthwise), w0, r3);
          if (two) s3 = madd(spread(p3 + second, depthwise), w1, s3);
        }
        p0 += 4;
        q += outBytes;
      } while (!depthwise && --left);
    }
  }
  finish(two, to, r0, s0, floor);
  if (four) {
    finish(two, to + toStep, r1, s1, floor);
    finish(two, to + 2 * toStep, r2, s2, floor);
    finish(two, to + 3 * toStep, r3, s3, floor);
  }
}

/**
 * y = act(x * w + bias), or with `transposed` the gradient of what was convolved: x then is dy, and w [taps, perGroup,
 * outChannels] has its two last axes exchanged within each group. Results of a group are a multiple of 4, or the
 * convolution is depthwise (one channel and one result a group, at least 4 in all). Transposed, along each axis the stride or
 * the dilation is 1.
 */
export function convolve(
  x: usize, w: usize, y: usize, bias: usize, relu: bool, transposed: bool, batch: i32, height: i32, width: i32, channels: i32,
  outHeight: i32, outWidth: i32, outChannels: i32, kernelHeight: i32, kernelWidth: i32, strideHeight: i32, strideWidth: i32,
  dilationHeight: i32, dilationWidth: i32, padTop: i32, padLeft: i32, groups: i32,
): void {
  const bytes = <usize>channels << 2;
  const outBytes = <usize>outChannels << 2;
  const perGroup = channels / groups;
  const outPerGroup = outChannels / groups;
  const depthwise = perGroup == 1 && outPerGroup == 1;
  const floor = f32x4.splat(relu ? 0 : -Infinity);
  // A result meets every element of the kernel; transposed, those that a stride does not step over, while x runs back. Results
  // that meet the same elements lie `phases` pixels apart.
  const stepKy = transposed ? strideHeight : 1;
  const stepSy = transposed ? -dilationHeight : dilationHeight;
  const phases = transposed ? strideWidth : 1;
  const stepSx = transposed ? -dilationWidth : dilationWidth;
  const apart = transposed ? 1 : strideWidth;
  const tapBytes = <usize>perGroup * outBytes;
  const rowX = <usize>(stepSy * width) * bytes;
  const rowW = <usize>(stepKy * kernelWidth) * tapBytes;
  const columnX = <usize>stepSx * bytes;
  const columnW = <usize>phases * tapBytes;
  const pixelStep = <usize>apart * bytes;
  const toStep = <usize>phases * outBytes;
  for (let b = 0; b < batch; b++, x += <usize>(height * width) * bytes) {
    for (let oy = 0; oy < outHeight; oy++, y += <usize>outWidth * outBytes) {
      let ky = transposed ? (oy + padTop) % strideHeight : 0;
      let sy = transposed ? (oy + padTop) / strideHeight : oy * strideHeight - padTop;
      for (; ky < kernelHeight && <u32>sy >= <u32>height; ky += stepKy) sy += stepSy;
      let rows = 0;
      for (let k = ky, s = sy; k < kernelHeight && <u32>s < <u32>height; k += stepKy, s += stepSy) rows++;
      for (let o = 0; o < outChannels; ) {
        const two = o + 2 * LANES <= outChannels;
        // The last vector may begin among results that are there already: it gives them once more.
        if (!two) o = min(o, outChannels - LANES);
        const first = groupOffset(o, perGroup, outPerGroup);
        const second = two ? groupOffset(o + LANES, perGroup, outPerGroup) - first : 0;
        const source = x + <usize>(sy * width) * bytes + first;
        const weights = w + <usize>(ky * kernelWidth) * tapBytes + (<usize>o << 2);
        const shift = bias ? bias + (<usize>o << 2) : 0;
        for (let phase = 0; phase < phases; phase++) {
          const kx0 = transposed ? (phase + padLeft) % phases : 0;
          const all = kx0 < kernelWidth ? (kernelWidth - 1 - kx0) / phases + 1 : 0;
          const reach = (all - 1) * stepSx;
          for (let ox = phase; ox < outWidth; ) {
            let sx = transposed ? (ox + padLeft) / phases : ox * strideWidth - padLeft;
            const to = y + <usize>ox * outBytes + (<usize>o << 2);
            const leftmost = sx + min(0, reach);
            const rightmost = sx + max(0, reach) + 3 * apart;
            if (leftmost >= 0 && rightmost < width && ox + 3 * phases < outWidth) {
              const from = source + <usize>sx * bytes;
              const taps = weights + <usize>kx0 * tapBytes;
              if (depthwise) {
                if (two) tile(true, true, true, from, 16, pixelStep, taps, to, toStep, shift, floor, rows, rowX, rowW, all, columnX, columnW, 1, outBytes);
                else tile(true, false, true, from, 0, pixelStep, taps, to, toStep, shift, floor, rows, rowX, rowW, all, columnX, columnW, 1, outBytes);
              } else if (two) tile(true, true, false, from, second, pixelStep, taps, to, toStep, shift, floor, rows, rowX, rowW, all, columnX, columnW, perGroup, outBytes);
              else tile(true, false, false, from, 0, pixelStep, taps, to, toStep, shift, floor, rows, rowX, rowW, all, columnX, columnW, perGroup, outBytes);
              ox += 4 * phases;
              continue;
            }
            // At the edges, pixel by pixel, only the columns of the kernel that meet the picture.
            let kx = kx0;
            for (; kx < kernelWidth && <u32>sx >= <u32>width; kx += phases) sx += stepSx;
            let columns = 0;
            for (let k = kx, s = sx; k < kernelWidth && <u32>s < <u32>width; k += phases, s += stepSx) columns++;
            const from = source + <usize>sx * bytes;
            const taps = weights + <usize>kx * tapBytes;
            if (depthwise) {
              if (two) tile(false, true, true, from, 16, 0, taps, to, 0, shift, floor, rows, rowX, rowW, columns, columnX, columnW, 1, outBytes);
              else tile(false, false, true, from, 0, 0, taps, to, 0, shift, floor, rows, rowX, rowW, columns, columnX, columnW, 1, outBytes);
            } else if (two) tile(false, true, false, from, second, 0, taps, to, 0, shift, floor, rows, rowX, rowW, columns, columnX, columnW, perGroup, outBytes);
            else tile(false, false, false, from, 0, 0, taps, to, 0, shift, floor, rows, rowX, rowW, columns, columnX, columnW, perGroup, outBytes);
            ox += phases;
          }
        }
        o += two ? 2 * LANES : LANES;
      }
    }
  }
}

/** dw += Σ x·dy over a row of pixels, for `vectors` vectors of one channel's weights; of the first, only lanes in `mask`. */
// @ts-ignore: decorator
@inline
function rowSums(
  vectors: i32, depthwise: bool, x: usize, dy: usize, dw: usize, o: i32, perGroup: i32, outPerGroup: i32,
  count: i32, step: usize, outBytes: usize, mask: v128,
): void {
  let p0 = x + groupOffset(o, perGroup, outPerGroup);
  let p1 = p0, p2 = p0, p3 = p0;
  const before = v128.load(dw);
  let r0 = before, r1 = before, r2 = before, r3 = before;
  if (vectors > 1) {
    p1 = x + groupOffset(o + 4, perGroup, outPerGroup);
    p2 = x + groupOffset(o + 8, perGroup, outPerGroup);
    p3 = x + groupOffset(o + 12, perGroup, outPerGroup);
    r1 = v128.load(dw, 16);
    r2 = v128.load(dw, 32);
    r3 = v128.load(dw, 48);
  }
  for (let i = 0; i < count; i++, p0 += step, dy += outBytes) {
    r0 = madd(spread(p0, depthwise), v128.load(dy), r0);
    if (vectors > 1) {
      r1 = madd(spread(p1, depthwise), v128.load(dy, 16), r1);
      r2 = madd(spread(p2, depthwise), v128.load(dy, 32), r2);
      r3 = madd(spread(p3, depthwise), v128.load(dy, 48), r3);
      p1 += step; p2 += step; p3 += step;
    }
  }
  v128.store(dw, vectors > 1 ? r0 : v128.bitselect(r0, before, mask));
  if (vectors > 1) {
    v128.store(dw, r1, 16);
    v128.store(dw, r2, 32);
    v128.store(dw, r3, 48);
  }
}

/** dw from x and dy, for the shapes of `convolve`. */
export function convolveWeights(
  x: usize, dw: usize, dy: usize, batch: i32, height: i32, width: i32, channels: i32,
  outHeight: i32, outWidth: i32, outChannels: i32, kernelHeight: i32, kernelWidth: i32, strideHeight: i32, strideWidth: i32,
  dilationHeight: i32, dilationWidth: i32, padTop: i32, padLeft: i32, groups: i32,
): void {
  const bytes = <usize>channels << 2;
  const outBytes = <usize>outChannels << 2;
  const perGroup = channels / groups;
  const outPerGroup = outChannels / groups;
  const depthwise = perGroup == 1 && outPerGroup == 1;
  const step = <usize>strideWidth * bytes;
  const all = i32x4.splat(-1);
  memory.fill(dw, 0, <usize>(kernelHeight * kernelWidth * perGroup) * outBytes);
  for (let b = 0; b < batch; b++, x += <usize>(height * width) * bytes) {
    for (let oy = 0; oy < outHeight; oy++, dy += <usize>outWidth * outBytes) {
      for (let o = 0; o < outChannels; ) {
        const wide = o + LANES * VECTORS <= outChannels;
        const left = outChannels - o;
        if (!wide) o = min(o, outChannels - LANES);
        // Lanes whose sums an earlier vector holds stay as they are.
        const mask = left >= LANES ? all : i32x4.ge_s(i32x4(0, 1, 2, 3), i32x4.splat(LANES - left));
        for (let ky = 0; ky < kernelHeight; ky++) {
          const iy = oy * strideHeight - padTop + ky * dilationHeight;
          if (<u32>iy >= <u32>height) continue;
          for (let kx = 0; kx < kernelWidth; kx++) {
            const shift = kx * dilationWidth - padLeft;
            const ox0 = shift < 0 ? (strideWidth - 1 - shift) / strideWidth : 0;
            const ox1 = width > shift ? min(outWidth, (width - 1 - shift) / strideWidth + 1) : 0;
            const from = x + <usize>(iy * width + ox0 * strideWidth + shift) * bytes;
            const by = dy + <usize>ox0 * outBytes + (<usize>o << 2);
            let to = dw + <usize>((ky * kernelWidth + kx) * perGroup) * outBytes + (<usize>o << 2);
            for (let c = 0; c < perGroup; c++, to += outBytes) {
              const at = from + (<usize>c << 2);
              if (depthwise) {
                if (wide) rowSums(VECTORS, true, at, by, to, o, 1, 1, ox1 - ox0, step, outBytes, mask);
                else rowSums(1, true, at, by, to, o, 1, 1, ox1 - ox0, step, outBytes, mask);
              } else if (wide) rowSums(VECTORS, false, at, by, to, o, perGroup, outPerGroup, ox1 - ox0, step, outBytes, mask);
              else rowSums(1, false, at, by, to, o, perGroup, outPerGroup, ox1 - ox0, step, outBytes, mask);
            }
          }
        }
        o += wide ? LANES * VECTORS : LANES;
      }
    }
  }
}

/** Weights [taps, perGroup, groups · outPerGroup] as [taps, outPerGroup, groups · perGroup]. */
export function exchange(w: usize, to: usize, taps: i32, perGroup: i32, outPerGroup: i32, groups: i32): void {
  const rowBytes = <usize>(groups * outPerGroup) << 2;
  for (let tap = 0; tap < taps; tap++, w += <usize>perGroup * rowBytes) {
    for (let o = 0; o < outPerGroup; o++) {
      for (let g = 0; g < groups; g++) {
        let from = w + (<usize>(g * outPerGroup + o) << 2);
        for (let c = 0; c < perGroup; c++, from += rowBytes, to += 4) store<f32>(to, load<f32>(from));
      }
    }
  }
}
