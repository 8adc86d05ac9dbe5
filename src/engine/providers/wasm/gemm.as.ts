// variants: relaxed
// Matrix product C = act(op(A)·op(B) + bias) or C += op(A)·op(B), row-major f32: packed panels and cache blocking after
// Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008). Products of vectors: gemv.as.ts.
import { activate, RELU } from "./activation.as";
import { packColumns, packRowsA, packRowsB } from "./gemm-pack.as";
import { microKernel, MR, NR, narrowKernel, PANEL_A, PANEL_B } from "./gemm-tile.as";

// A panel of each operand (16 KiB at most) in L1, blocks of both (1.4 MiB at most) in L2.
const KC: i32 = 512;
const MC: i32 = 32 * MR;
const NC: i32 = 512;
const TILE_BYTES: usize = 256;
const TILE_STRIDE: usize = 32;

function blocks(length: i32, block: i32): i32 {
  return (length + block - 1) / block;
}

/** Even blocks: 520 splits into 260 + 260, not 512 + 8. */
function evenBlock(length: i32, most: i32): i32 {
  return length <= most ? length : blocks(length, blocks(length, most));
}

export function scratchBytes(m: i32, n: i32, k: i32): u32 {
  const kc = <usize>evenBlock(k, KC);
  return <u32>(TILE_BYTES + kc * (PANEL_A * <usize>blocks(min(m, MC), MR) + PANEL_B * <usize>blocks(min(n, NC), NR)));
}

/** A tile that C cuts off: in scratch memory, which is copied in (sum so far, bias) and out. */
function edgeTile(
  rows: i32, columns: i32, kc: i32, a: usize, b: usize, c: usize, stride: usize,
  accumulate: bool, bias: usize, activation: i32, tile: usize,
): void {
  memory.fill(tile, 0, TILE_BYTES);
  for (let i = 0; i < rows; i++) {
    const to = tile + <usize>i * TILE_STRIDE;
    const from = c + <usize>i * stride;
    for (let j: usize = 0; j < <usize>columns << 2; j += 4) {
      store<f32>(to + j, (accumulate ? load<f32>(from + j) : 0) + (bias ? load<f32>(bias + j) : 0));
    }
  }
  if (columns <= 4) narrowKernel(kc, a, b, tile);
  else microKernel(kc, a, b, tile, TILE_STRIDE, true, 0, -Infinity);
  for (let i = 0; i < rows; i++) {
    const from = tile + <usize>i * TILE_STRIDE;
    const to = c + <usize>i * stride;
    activate(NR, from, activation);
    for (let j: usize = 0; j < <usize>columns << 2; j += 4) store<f32>(to + j, load<f32>(from + j));
  }
}

/** A block of A against a block of B, both packed. */
function macroKernel(
  mc: i32, nc: i32, kc: i32, panelsA: usize, panelsB: usize, c: usize, stride: usize,
  accumulate: bool, bias: usize, activation: i32, tile: usize,
): void {
  const floor: f32 = activation == RELU ? 0 : -Infinity;
  for (let j = 0; j < nc; j += NR) {
    const b = panelsB + <usize>(j * kc) * 4;
    const biasJ = bias ? bias + (<usize>j << 2) : 0;
    for (let i = 0; i < mc; i += MR) {
      const a = panelsA + <usize>(i * kc) * 4;
      const to = c + <usize>i * stride + (<usize>j << 2);
      if (mc - i < MR || nc - j < NR) {
        edgeTile(min(mc - i, MR), min(nc - j, NR), kc, a, b, to, stride, accumulate, biasJ, activation, tile);
        continue;
      }
      microKernel(kc, a, b, to, stride, accumulate, biasJ, floor);
      if (activation > RELU) {
        for (let r: usize = 0; r < <usize>MR; r++) activate(NR, to + r * stride, activation);
      }
    }
  }
}

/**
 * Strides in elements from row to row of the matrices as they lie: A [m, k] or transposed [k, m], B [k, n] or [n, k], C [m, n].
 * `bias` 0 = none; `activation` 0 none, 1 relu, 2 sigmoid, 3 tanh.
 */
export function gemm(
  m: i32, n: i32, k: i32, a: usize, rowA: i32, transposeA: bool, b: usize, rowB: i32, transposeB: bool, c: usize, rowC: i32,
  bias: usize, activation: i32, accumulate: bool, scratch: usize,
): void {
  const strideA = <usize>rowA << 2;
  const strideB = <usize>rowB << 2;
  const strideC = <usize>rowC << 2;
  const kBlock = evenBlock(k, KC);
  const panelsA = scratch + TILE_BYTES;
  const panelsB = panelsA + <usize>kBlock * PANEL_A * <usize>blocks(min(m, MC), MR);
  for (let j = 0; j < n; j += NC) {
    const nc = min(NC, n - j);
    let p = 0;
    do {
      const kc = min(kBlock, k - p);
      const last = p + kc >= k;
      if (transposeB) packRowsB(nc, kc, b + <usize>j * strideB + (<usize>p << 2), strideB, panelsB);
      else packColumns(nc, kc, b + <usize>p * strideB + (<usize>j << 2), strideB, panelsB, NR);
      for (let i = 0; i < m; i += MC) {
        const mc = min(MC, m - i);
        if (transposeA) packColumns(mc, kc, a + <usize>p * strideA + (<usize>i << 2), strideA, panelsA, MR);
        else packRowsA(mc, kc, a + <usize>i * strideA + (<usize>p << 2), strideA, panelsA);
        macroKernel(
          mc, nc, kc, panelsA, panelsB, c + <usize>i * strideC + (<usize>j << 2), strideC,
          accumulate || p > 0, bias && last ? bias + (<usize>j << 2) : 0, last ? activation : 0, scratch,
        );
      }
      p += kc;
    } while (p < k);
  }
}

/** The register tile alone, again and again: the bound that packing and blocking are measured against. */
export function microKernelLoop(times: i32, kc: i32, a: usize, b: usize, c: usize): i32 {
  for (let i = 0; i < times; i++) microKernel(kc, a, b, c, 32, false, 0, -Infinity);
  return times * MR * NR * kc * 2;
}
