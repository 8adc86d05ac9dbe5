// Pooling of f32 NHWC pictures, vectors of channels at a time; the window's place counts row by row.

@inline function least(a: i32, b: i32): i32 {
  return a < b ? a : b;
}

/** The maximum of each window and, where `places` is not 0, its first place; NaN wins. */
export function maxPool(
  x: usize, y: usize, places: usize, batch: i32, height: i32, width: i32, channels: i32, outHeight: i32, outWidth: i32,
  kernelHeight: i32, kernelWidth: i32, strideHeight: i32, strideWidth: i32, padTop: i32, padLeft: i32,
): void {
  const bytes = <usize>channels << 2;
  for (let b = 0; b < batch; b++) {
    const picture = x + <usize>b * <usize>(height * width) * bytes;
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        const y0 = oy * strideHeight - padTop;
        const x0 = ox * strideWidth - padLeft;
        for (let c = 0; c < channels; c += 4) {
          const lanes = least(4, channels - c);
          let best = f32x4.splat(-Infinity);
          let place = i32x4.splat(0);
          for (let ky = max(0, -y0); ky < least(kernelHeight, height - y0); ky++) {
            for (let kx = max(0, -x0); kx < least(kernelWidth, width - x0); kx++) {
              const at = picture + <usize>((y0 + ky) * width + x0 + kx) * bytes + (<usize>c << 2);
              const value = lanes == 4 ? v128.load(at) : loadLanes(at, lanes);
              // Greater, or NaN where the best is none yet.
              const wins = v128.or(f32x4.gt(value, best), v128.andnot(f32x4.ne(value, value), f32x4.ne(best, best)));
              best = v128.bitselect(value, best, wins);
              place = v128.bitselect(i32x4.splat(ky * kernelWidth + kx), place, wins);
            }
          }
          storeLanes(y + (<usize>c << 2), best, lanes);
          if (places != 0) storePlaces(places + <usize>c, place, lanes);
        }
        y += bytes;
        if (places != 0) places += <usize>channels;
      }
    }
  }
}

@inline function loadLanes(at: usize, lanes: i32): v128 {
  let value = v128.load32_zero(at);
  if (lanes > 1) value = v128.load32_lane(at, value, 1, 4);
  if (lanes > 2) value = v128.load32_lane(at, value, 2, 8);
  return value;
}

@inline function storeLanes(at: usize, value: v128, lanes: i32): void {
  if (lanes == 4) {
    v128.store(at, value);
    return;
  }
  store<f32>(at, f32x4.extract_lane(value, 0));
  if (lanes > 1) store<f32>(at, f32x4.extract_lane(value, 1), 4);
  if (lanes > 2) store<f32>(at, f32x4.extract_lane(value, 2), 8);
}

@inline function storePlaces(at: usize, place: v128, lanes: i32): void {
  store<u8>(at, <u8>i32x4.extract_lane(place, 0));
  if (lanes > 1) store<u8>(at, <u8>i32x4.extract_lane(place, 1), 1);
  if (lanes > 2) store<u8>(at, <u8>i32x4.extract_lane(place, 2), 2);
  if (lanes > 3) store<u8>(at, <u8>i32x4.extract_lane(place, 3), 3);
}

/** dx = Σ dy of the windows whose maximum lies there. */
export function maxPoolGrad(
  dx: usize, dy: usize, places: usize, batch: i32, height: i32, width: i32, channels: i32, outHeight: i32, outWidth: i32,
  kernelHeight: i32, kernelWidth: i32, strideHeight: i32, strideWidth: i32, padTop: i32, padLeft: i32,
): void {
  const bytes = <usize>channels << 2;
  memory.fill(dx, 0, <usize>batch * <usize>(height * width) * bytes);
  for (let b = 0; b < batch; b++) {
    const picture = dx + <usize>b * <usize>(height * width) * bytes;
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        const y0 = oy * strideHeight - padTop;
        const x0 = ox * strideWidth - padLeft;
        // Places outside of the picture, which no forward pass can give, match none of these.
        for (let ky = max(0, -y0); ky < least(kernelHeight, height - y0); ky++) {
          for (let kx = max(0, -x0); kx < least(kernelWidth, width - x0); kx++) {
            const at = picture + <usize>((y0 + ky) * width + x0 + kx) * bytes;
            addWhere(at, dy, places, ky * kernelWidth + kx, <usize>channels);
          }
        }
        dy += bytes;
        places += <usize>channels;
      }
    }
  }
}

/** to += from in channels whose place this is. */
@inline function addWhere(to: usize, from: usize, places: usize, place: i32, channels: usize): void {
  const place4 = i32x4.splat(place);
  let c: usize = 0;
  for (; c + 4 <= channels; c += 4) {
    const bytes = i16x8.extend_low_i8x16_u(v128.load32_zero(places + c));
    const here = i32x4.eq(i32x4.extend_low_i16x8_u(bytes), place4);
    const at = to + (c << 2);
    v128.store(at, f32x4.add(v128.load(at), v128.and(v128.load(from + (c << 2)), here)));
  }
  for (; c < channels; c++) {
    if (<i32>load<u8>(places + c) != place) continue;
    store<f32>(to + (c << 2), load<f32>(to + (c << 2)) + load<f32>(from + (c << 2)));
  }
}

/** The mean of each window; `forward` 0: adds dy / count to the places of the window instead. */
export function averagePool(
  x: usize, y: usize, forward: i32, batch: i32, height: i32, width: i32, channels: i32, outHeight: i32, outWidth: i32,
  kernelHeight: i32, kernelWidth: i32, strideHeight: i32, strideWidth: i32, padTop: i32, padLeft: i32, countPadding: i32,
): void {
  const bytes = <usize>channels << 2;
  const pictureBytes = <usize>(height * width) * bytes;
  if (!forward) memory.fill(x, 0, <usize>batch * pictureBytes);
  for (let b = 0; b < batch; b++, x += pictureBytes) {
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++, y += bytes) {
        const y0 = oy * strideHeight - padTop;
        const x0 = ox * strideWidth - padLeft;
        const top = max(0, y0);
        const bottom = least(height, y0 + kernelHeight);
        const left = max(0, x0);
        const right = least(width, x0 + kernelWidth);
        const count = countPadding ? kernelHeight * kernelWidth : (bottom - top) * (right - left);
        const scale = <f32>1 / <f32>count;
        if (forward) memory.fill(y, 0, bytes);
        for (let iy = top; iy < bottom; iy++) {
          for (let ix = left; ix < right; ix++) {
            const at = x + <usize>(iy * width + ix) * bytes;
            if (forward) add(y, at, bytes, 1);
            else add(at, y, bytes, scale);
          }
        }
        if (forward) scaleBy(y, bytes, scale);
      }
    }
  }
}

/** to += from · factor */
@inline function add(to: usize, from: usize, bytes: usize, factor: f32): void {
  const factor4 = f32x4.splat(factor);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    v128.store(to + i, f32x4.add(v128.load(to + i), f32x4.mul(v128.load(from + i), factor4)));
  }
  for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(to + i) + load<f32>(from + i) * factor);
}

@inline function scaleBy(x: usize, bytes: usize, factor: f32): void {
  const factor4 = f32x4.splat(factor);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(x + i, f32x4.mul(v128.load(x + i), factor4));
  for (; i < bytes; i += 4) store<f32>(x + i, load<f32>(x + i) * factor);
}
