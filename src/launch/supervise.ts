// Keeps one process of the job running as the control of the job decides, until the job no longer wants it.
import { setTimeout as sleep } from "node:timers/promises";
import type { Place } from "../cluster/index.ts";
import type { Decision, EndReport } from "./job-control.ts";
import type { JobLog } from "./log.ts";
import type { RunningProcess, StopSignal } from "./processes.ts";

/** The control of the job, in this process or in the one of the first task. */
export interface Control {
  started(place: Place, attempt: number, host: string, pid: number | undefined): Promise<void>;
  ended(place: Place, end: EndReport): Promise<Decision>;
  /** Resolves when processes of the role are to get another signal than `last`. */
  stopAsked(place: Place, last: StopSignal | undefined, signal: AbortSignal): Promise<StopSignal | undefined>;
}

export interface Supervised {
  readonly place: Place;
  readonly attempt: number;
  readonly start: (attempt: number) => RunningProcess | Promise<RunningProcess>;
  readonly control: Control;
  readonly log: JobLog;
  /** How long a process may take to end before it is killed. */
  readonly graceMs: number;
}

export async function supervise({ place, attempt, start, control, log, graceMs }: Supervised): Promise<void> {
  for (let number = attempt; ; ) {
    const end = await runOnce(number);
    const decision = await control.ended(place, { ...end, attempt: number, tail: log.tail(place) });
    if (decision.kind !== "restart") return;
    const { delayMs } = decision;
    number = decision.attempt;
    if (!(await waitUnlessStopped(delayMs))) {
      await control.ended(place, { code: 0, signal: null, attempt: number, tail: [] });
      return;
    }
  }

  async function runOnce(number: number): Promise<Pick<EndReport, "code" | "signal" | "error">> {
    const over = new AbortController();
    let running: RunningProcess;
    try {
      running = await start(number);
    } catch (error) {
      await control.started(place, number, "", undefined);
      return { code: 127, signal: null, error: (error as Error).message };
    }
    log.follow(place, running.stdout, running.stderr);
    await control.started(place, number, running.host, running.pid);
    const stopping = stopWhenAsked(running, over.signal);
    const end = await running.ended;
    over.abort();
    await stopping;
    return end;
  }

  async function stopWhenAsked(running: RunningProcess, over: AbortSignal): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    for (let last: StopSignal | undefined; !over.aborted; ) {
      const asked = await control.stopAsked(place, last, over);
      if (asked === undefined || over.aborted) break;
      last = asked;
      running.signal(asked);
      timer ??= setTimeout(() => {
        log.say(
          `${place.role} ${place.rank} (pid ${running.pid}) has not ended within ${graceMs / 1000} s; killing it`,
        );
        running.signal("SIGKILL");
      }, graceMs);
    }
    clearTimeout(timer);
  }

  /** False when the job ends meanwhile. */
  async function waitUnlessStopped(delayMs: number): Promise<boolean> {
    const over = new AbortController();
    const asked = control.stopAsked(place, undefined, over.signal);
    const stopped = await Promise.race([
      asked.then((signal) => signal !== undefined),
      sleep(delayMs, false, { signal: over.signal }),
    ]);
    over.abort();
    return !stopped;
  }
}
