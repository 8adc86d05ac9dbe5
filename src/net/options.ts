// The options of servers and clients, checked, with their defaults.
import { z } from "zod";
import { RpcError } from "./error.ts";
import { FaultSource, faultsFromEnvironment } from "./faults.ts";
import type { CallOptions, LinkOptions } from "./types.ts";

const share = z.number().min(0).max(1);
const milliseconds = z.number().positive();

const link = {
  maxFrameBytes: z.int().min(1024).max(0xffffffff),
  maxInFlightBytes: z.int().min(1024),
  heartbeatMs: milliseconds,
  silenceMs: milliseconds,
  faults: z.strictObject({
    drop: share.optional(),
    delayMs: z.number().min(0).optional(),
    disconnect: share.optional(),
    seed: z.int().optional(),
  }),
};

const schema = z.object({
  maxFrameBytes: link.maxFrameBytes.default(2 ** 28),
  maxInFlightBytes: link.maxInFlightBytes.optional(),
  heartbeatMs: link.heartbeatMs.default(1000),
  silenceMs: link.silenceMs.default(15_000),
  faults: link.faults.optional(),
});

export interface LinkLimits {
  readonly maxFrameBytes: number;
  readonly maxInFlightBytes: number;
  readonly heartbeatMs: number;
  readonly silenceMs: number;
  readonly faults: FaultSource | undefined;
  /** Whether messages may be lost on purpose, so that calls must be sent again without a broken connection. */
  readonly lossy: boolean;
}

/** @throws Error that names the option, its value and what is allowed */
export function linkLimits(where: string, options: LinkOptions, maxInFlightBytes: number): LinkLimits {
  const parsed = schema.safeParse(options);
  if (!parsed.success) throw new Error(`${where}: ${z.prettifyError(parsed.error)}`);
  const faults = options.faults ?? faultsFromEnvironment();
  return {
    ...parsed.data,
    maxInFlightBytes: parsed.data.maxInFlightBytes ?? maxInFlightBytes,
    faults: faults === undefined ? undefined : new FaultSource(faults),
    lossy: (faults?.drop ?? 0) > 0,
  };
}

/** What is wrong with the options of a call, or undefined. */
export function wrongCallOption(method: string, { deadlineMs, retries }: CallOptions): RangeError | undefined {
  if (deadlineMs !== undefined && !(deadlineMs > 0)) {
    return new RangeError(`call ${method}: deadlineMs is ${deadlineMs}; give a number of milliseconds above 0`);
  }
  if (retries !== undefined && !(retries >= 0)) {
    return new RangeError(`call ${method}: retries is ${retries}; give 0 or more`);
  }
  return undefined;
}

/** Any error as one with a code. */
export function asRpcError(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  return new RpcError("internal", error instanceof Error ? error.message : String(error), { cause: error });
}
