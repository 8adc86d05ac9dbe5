// Random numbers for start values: a stream for each (name, seed), fast enough for hundreds of millions.

/** FNV-1a of a name: gives every parameter a stream of its own, whatever the order of declaration. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash;
}

const BLOCK = 4096;
const LAYERS = 128;
/** Where the last layer of 128 ends, and the area of each (Marsaglia & Tsang 2000). */
const TAIL = 3.442619855899;
const AREA = 9.91256303526217e-3;
/** Signed numbers of 25 bits choose the place in a layer; 7 other bits choose the layer, so that both are independent. */
const PLACES = 2 ** 24;

const density = (x: number): number => Math.exp(-0.5 * x * x);

/** Right edges of the layers of equal area under the density, from the tail's (0) to the peak's. */
const edges = new Float64Array(LAYERS + 1);
edges[0] = AREA / density(TAIL);
edges[1] = TAIL;
for (let i = 2; i < LAYERS; i++) {
  edges[i] = Math.sqrt(-2 * Math.log(AREA / edges[i - 1]! + density(edges[i - 1]!)));
}
/** Places below this one lie under the density without further thought; the width of a place. */
const certain = Int32Array.from({ length: LAYERS }, (_, i) => Math.floor((edges[i + 1]! / edges[i]!) * PLACES));
const width = Float64Array.from({ length: LAYERS }, (_, i) => edges[i]! / PLACES);

/** A stream of random numbers by Doty-Humphrey's sfc32, which keeps 128 bits of state. */
export class RandomSource {
  readonly #state: Int32Array;
  readonly #block = new Int32Array(BLOCK);
  #at = BLOCK;
  /** Which numbers of a block are not certain, and what was drawn for them. */
  readonly #missed = new Int32Array(BLOCK);
  readonly #missedBits = new Int32Array(BLOCK);

  constructor(name: string, seed: number) {
    this.#state = Int32Array.of(hashName(name), seed, hashName(`${name}/${seed}`), 1);
    // The first block mixes the seeds into the whole state.
    this.#refill();
    this.#at = BLOCK;
  }

  /** Uniform numbers in [−scale, scale], the limits after rounding. */
  uniform(into: Float32Array, scale: number): void {
    const block = this.#block;
    const step = scale / 2 ** 31;
    for (let from = 0; from < into.length; from += BLOCK) {
      const to = Math.min(from + BLOCK, into.length);
      this.#refill();
      for (let i = from; i < to; i++) into[i] = block[i - from]! * step;
    }
    this.#at = BLOCK;
  }

  /** Normal numbers, by the ziggurat (Marsaglia & Tsang 2000); beyond `limit` deviations they are drawn again. */
  normal(into: Float32Array, deviation: number, limit = Number.POSITIVE_INFINITY): void {
    for (let from = 0; from < into.length; ) {
      if (this.#at === BLOCK) this.#refill();
      const count = Math.min(BLOCK - this.#at, into.length - from);
      const misses = this.#certain(into, from, count, deviation, limit);
      this.#at += count;
      for (let k = 0; k < misses; k++) {
        into[from + this.#missed[k]!] = deviation * this.#uncertain(this.#missedBits[k]!, limit);
      }
      from += count;
    }
  }

  /** Writes `count` numbers as if all of them were certain, and notes those that are not, one or two in a hundred. */
  #certain(into: Float32Array, from: number, count: number, deviation: number, limit: number): number {
    const [block, missed, missedBits, at] = [this.#block, this.#missed, this.#missedBits, this.#at];
    let misses = 0;
    for (let i = 0; i < count; i++) {
      const bits = block[at + i]!;
      const layer = bits & (LAYERS - 1);
      const place = bits >> 7;
      const x = place * width[layer]!;
      into[from + i] = deviation * x;
      // −1 − place for negative ones: a place more or less makes no difference, and there is no branch.
      if ((place ^ (place >> 31)) >= certain[layer]! || x > limit || x < -limit) {
        missed[misses] = i;
        missedBits[misses++] = bits;
      }
    }
    return misses;
  }

  #uncertain(first: number, limit: number): number {
    for (let bits = first; ; bits = this.#next()) {
      const place = bits >> 7;
      const layer = bits & (LAYERS - 1);
      let x = place * width[layer]!;
      if (Math.abs(place) >= certain[layer]!) x = this.#edge(x, layer);
      if (Math.abs(x) <= limit) return x;
    }
  }

  /** A number near the edge of its layer: in the tail, under the density, or NaN where it must be drawn again. */
  #edge(x: number, layer: number): number {
    if (layer === 0) {
      for (;;) {
        const past = -Math.log(this.#fraction()) / TAIL;
        if (-2 * Math.log(this.#fraction()) > past * past) return x < 0 ? -TAIL - past : TAIL + past;
      }
    }
    const [low, high] = [density(edges[layer]!), layer + 1 === LAYERS ? 1 : density(edges[layer + 1]!)];
    return low + this.#fraction() * (high - low) < density(x) ? x : Number.NaN;
  }

  /** In (0, 1). */
  #fraction(): number {
    return ((this.#next() >>> 0) + 0.5) / 2 ** 32;
  }

  #next(): number {
    if (this.#at === BLOCK) this.#refill();
    return this.#block[this.#at++]!;
  }

  #refill(): void {
    const block = this.#block;
    let [a, b, c, counter] = this.#state as unknown as [number, number, number, number];
    for (let i = 0; i < BLOCK; i++) {
      const sum = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
      block[i] = sum;
    }
    this.#state.set([a, b, c, counter]);
    this.#at = 0;
  }
}
