// Which algorithm is the fastest: time as a function of size, ranks and links (Hockney's α-β model, with γ for arithmetic).
// docs/collectives.md derives the formulas. All ranks must decide alike, so they must know the same links.

/** What a message costs between two ranks. */
export interface Link {
  /** Seconds from send to receive of a short message. */
  readonly alpha: number;
  /** Seconds per byte of a long one. */
  readonly beta: number;
}

export interface Links {
  /** Between ranks of one group, such as a machine. */
  readonly near: Link;
  /** Between groups. */
  readonly far: Link;
  /** Seconds per byte to reduce what came. */
  readonly gamma: number;
  /** Ranks of a group; consecutive ranks are near each other. The number of ranks where all are near. */
  readonly groupSize: number;
}

/** The time of a barrier of threads that read each other's memory is about this many messages. */
const SHARED_MESSAGES = 4;

export interface Situation {
  readonly size: number;
  readonly bytes: number;
  readonly links: Links;
  readonly shared: boolean;
  readonly halfWire: boolean;
}

export type TimedAlgorithm = "ring" | "halving-doubling" | "direct" | "hierarchical" | "shared";

/** Predicted seconds of an all-reduce. Infinite where the algorithm is not possible. */
export function allReduceSeconds(
  algorithm: TimedAlgorithm,
  { size, bytes, links, shared, halfWire }: Situation,
): number {
  const { near, far, gamma, groupSize } = links;
  const spread = groupSize < size;
  // A ring and an exchange of all wait for their slowest link.
  const { alpha, beta } = spread ? far : near;
  const volume = (bytes * (size - 1)) / size;
  switch (algorithm) {
    case "ring":
      return 2 * (size - 1) * alpha + 2 * volume * beta + volume * gamma;
    case "halving-doubling": {
      const core = 2 ** Math.floor(Math.log2(size));
      const fold = core === size ? 0 : 2 * alpha + 2 * bytes * beta + bytes * gamma;
      const ofCore = (bytes * (core - 1)) / core;
      // Ranks of a group exchange with all of its peers outside at once, over one link.
      const crowd = spread ? Math.min(groupSize, 2) : 1;
      return 2 * Math.log2(core) * alpha + 2 * ofCore * beta * crowd + ofCore * gamma + fold;
    }
    case "direct": {
      const crowd = spread ? groupSize : 1;
      // Every message but the first of a step costs its sender half a latency.
      return (2 + (size - 2)) * alpha + 2 * volume * beta * crowd + volume * gamma;
    }
    case "hierarchical": {
      if (!spread || size % groupSize !== 0 || groupSize === 1) return Number.POSITIVE_INFINITY;
      const groups = size / groupSize;
      const inside = (bytes * (groupSize - 1)) / groupSize;
      const part = bytes / groupSize;
      const outside = (part * (groups - 1)) / groups;
      return (
        groupSize * near.alpha +
        2 * inside * near.beta +
        inside * gamma +
        2 * (groups - 1) * far.alpha +
        2 * outside * far.beta * groupSize +
        outside * gamma
      );
    }
    case "shared":
      if (!shared || halfWire) return Number.POSITIVE_INFINITY;
      return SHARED_MESSAGES * near.alpha + (bytes * near.beta) / 2;
    default:
      return algorithm satisfies never;
  }
}

const timed: readonly TimedAlgorithm[] = ["ring", "halving-doubling", "direct", "hierarchical", "shared"];

/** The algorithm with the least predicted time. */
export function fastestAllReduce(situation: Situation): TimedAlgorithm {
  const seconds = timed.map((algorithm) => allReduceSeconds(algorithm, situation));
  return timed[seconds.indexOf(Math.min(...seconds))]!;
}

/** Below this a broadcast goes by tree: a chain of P messages costs more than the bytes of a tree. */
export function fastestBroadcast({
  size,
  bytes,
  links,
}: Pick<Situation, "size" | "bytes" | "links">): "tree" | "chain" {
  const { alpha, beta } = links.groupSize < size ? links.far : links.near;
  const tree = Math.ceil(Math.log2(size)) * (alpha + bytes * beta);
  const chain = (size - 1) * alpha + bytes * beta;
  return tree <= chain ? "tree" : "chain";
}

/** Links of a transport, of the order that two cores of an AMD Zen 5 show. Pass `links` for a network that is known better. */
export const typicalLinks: Readonly<Record<string, Omit<Links, "groupSize">>> = {
  threads: {
    near: { alpha: 3e-6, beta: 0.12e-9 },
    far: { alpha: 3e-6, beta: 0.12e-9 },
    gamma: 0.05e-9,
  },
  shared: {
    near: { alpha: 5e-6, beta: 0.15e-9 },
    far: { alpha: 5e-6, beta: 0.15e-9 },
    gamma: 0.05e-9,
  },
  unix: {
    near: { alpha: 15e-6, beta: 0.35e-9 },
    far: { alpha: 15e-6, beta: 0.35e-9 },
    gamma: 0.05e-9,
  },
  tcp: { near: { alpha: 25e-6, beta: 0.5e-9 }, far: { alpha: 60e-6, beta: 1e-9 }, gamma: 0.05e-9 },
  tls: { near: { alpha: 60e-6, beta: 1e-9 }, far: { alpha: 100e-6, beta: 1.2e-9 }, gamma: 0.05e-9 },
  mpi: { near: { alpha: 5e-6, beta: 0.3e-9 }, far: { alpha: 5e-6, beta: 0.3e-9 }, gamma: 0.05e-9 },
};
