// The control of the job for launchers in other processes: methods of the coordinator's service, and their client.
import { z } from "zod";
import type { MemberEvent, Place } from "../cluster/index.ts";
import { type Handlers, type RpcClient, RpcError } from "../net/index.ts";
import type { Decision, JobControl } from "./job-control.ts";
import type { StopSignal } from "./processes.ts";
import type { JobStatus } from "./status.ts";
import type { Control } from "./supervise.ts";

/** A call that waits is answered after so long at the latest, and made again. */
const HOLD_MS = 2000;
/** How long the launcher of a process may take to tell of its end, after its connection has. */
const LOST_MS = 5000;

const place = z.object({ role: z.enum(["worker", "server"]), rank: z.int().min(0).max(1_000_000) });
const signal = z.enum(["SIGINT", "SIGTERM", "SIGKILL"]);
const calls = {
  started: z.object({ place, attempt: z.int().min(0), host: z.string().max(256), pid: z.int().exactOptional() }),
  ended: z.object({
    place,
    code: z.int().nullable(),
    signal: z.string().max(32).nullable(),
    error: z.string().max(4096).exactOptional(),
    attempt: z.int().min(0),
    tail: z.array(z.string().max(65_536)).max(100),
  }),
  stopAsked: z.object({ place, last: signal.exactOptional() }),
  interrupt: z.object({ signal: z.enum(["SIGINT", "SIGTERM"]), who: z.string().max(256) }),
};
const decision = z.union([
  z.object({ kind: z.literal("restart"), attempt: z.int(), delayMs: z.number() }),
  z.object({ kind: z.literal("stay down") }),
]);

function decode<T extends z.ZodType>(schema: T, body: Uint8Array): z.output<T> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString());
  } catch (cause) {
    throw new RpcError("invalid", "the body is no JSON", { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new RpcError("invalid", z.prettifyError(parsed.error));
  return parsed.data;
}

const encode = (value: unknown): Uint8Array[] => [Buffer.from(JSON.stringify(value ?? null))];

/** For the launcher's own process. */
export function localControl(control: JobControl): Control {
  return {
    started: async (place, attempt, host, pid) => control.started(place, attempt, host, pid),
    ended: async (place, end) => control.ended(place, end),
    async stopAsked({ role }, last, aborted) {
      await control.changes.wait(() => control.stopSignal(role) !== last, Number.POSITIVE_INFINITY, aborted);
      return control.stopSignal(role);
    },
  };
}

/** @param status of the job, for `flotilla status` */
export function controlHandlers(control: JobControl, status: () => JobStatus): Handlers {
  return {
    "launch.started": {
      once: true,
      handle(body) {
        const { place, attempt, host, pid } = decode(calls.started, body);
        control.started(place, attempt, host, pid);
        return encode(null);
      },
    },
    "launch.ended": {
      once: true,
      handle(body) {
        const { place, ...end } = decode(calls.ended, body);
        return encode(control.ended(place, end));
      },
    },
    "launch.stopAsked": async (body, { signal: aborted }) => {
      const { place, last } = decode(calls.stopAsked, body);
      const asked = (): StopSignal | undefined => control.stopSignal(place.role);
      await control.changes.wait(() => asked() !== last, HOLD_MS, aborted);
      return encode(asked());
    },
    "launch.over": async (_, { signal: aborted }) => {
      await control.changes.wait(() => control.phase === "over", HOLD_MS, aborted);
      return encode(control.phase === "over" ? control.exitCode : null);
    },
    "launch.interrupt": {
      once: true,
      handle(body) {
        const { signal, who } = decode(calls.interrupt, body);
        control.interrupt(signal, who);
        return encode(null);
      },
    },
    "launch.status": () => encode(status()),
  };
}

/** For a launcher that has only a connection to the coordinator. */
export class RemoteControl implements Control {
  readonly #client: RpcClient;

  constructor(client: RpcClient) {
    this.#client = client;
  }

  async started(place: Place, attempt: number, host: string, pid: number | undefined): Promise<void> {
    await this.#call("started", { place, attempt, host, pid });
  }

  async ended(place: Place, end: Parameters<Control["ended"]>[1]): Promise<Decision> {
    return decision.parse(await this.#call("ended", { place, ...end }));
  }

  async stopAsked(place: Place, last: StopSignal | undefined, aborted: AbortSignal): Promise<StopSignal | undefined> {
    while (!aborted.aborted) {
      try {
        const asked = signal.nullable().parse(await this.#call("stopAsked", { place, last }, aborted)) ?? undefined;
        if (asked !== last) return asked;
      } catch (error) {
        if (!aborted.aborted) throw error;
      }
    }
    return undefined;
  }

  async interrupt(signal: "SIGINT" | "SIGTERM", who: string): Promise<void> {
    await this.#call("interrupt", { signal, who });
  }

  /** Waits for the end of the job. @returns its exit code */
  async over(): Promise<number> {
    for (;;) {
      const code = z
        .int()
        .nullable()
        .parse(await this.#call("over", null));
      if (code !== null) return code;
    }
  }

  async #call(method: string, body: unknown, aborted?: AbortSignal): Promise<unknown> {
    const options = { retries: Number.POSITIVE_INFINITY, deadlineMs: 60_000, signal: aborted };
    return JSON.parse(Buffer.from(await this.#client.call(`launch.${method}`, encode(body), options)).toString());
  }
}

/**
 * Where every process has a launcher of its own: a member that died and whose launcher says nothing was lost with it, as
 * when its machine failed.
 */
export function watchLost(control: JobControl): (event: MemberEvent) => void {
  return ({ kind, member }) => {
    if (kind !== "died") return;
    const { role, rank, attempt, reason } = member;
    setTimeout(() => {
      const record = control.processes().find((entry) => entry.role === role && entry.rank === rank);
      if (record?.state !== "running" || record.attempt !== attempt) return;
      const error = `${reason ?? "its connection ended"}, and its launcher says nothing`;
      control.ended({ role, rank }, { code: 127, signal: null, error, attempt, tail: [] });
    }, LOST_MS).unref();
  };
}
