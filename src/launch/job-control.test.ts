import { describe, expect, it } from "vitest";
import type { Place } from "../cluster/index.ts";
import { type ControlOptions, type Decision, JobControl } from "./job-control.ts";

interface Play {
  readonly control: JobControl;
  readonly said: string[];
  /** Time passes. */
  pass(milliseconds: number): void;
  start(place: string, attempt?: number): void;
  end(place: string, code: number | string, attempt?: number): Decision;
}

function play(options: Partial<ControlOptions>): Play {
  const said: string[] = [];
  let now = 1_000_000;
  const control = new JobControl({
    ...{ workers: 2, servers: 0, restart: 0, ...options },
    say: (text) => said.push(text),
    now: () => now,
  });
  const place = (text: string): Place => ({ role: text[0] === "W" ? "worker" : "server", rank: Number(text.slice(1)) });
  const pids = new Map<string, number>();
  const start = (text: string, attempt = 0): void => {
    pids.set(text, 100 + pids.size);
    control.started(place(text), attempt, "here", pids.get(text));
  };
  for (const { role, rank } of control.processes()) start(`${role === "worker" ? "W" : "S"}${rank}`);
  return {
    ...{ control, said, start },
    pass: (milliseconds) => {
      now += milliseconds;
    },
    end: (text, code, attempt = 0) =>
      control.ended(place(text), {
        ...{ code: typeof code === "number" ? code : null, signal: typeof code === "string" ? code : null },
        ...{ attempt, tail: code === 0 ? [] : ["the last line"] },
      }),
  };
}

describe("the control of a job", () => {
  it("closes servers when all workers have finished", () => {
    const { control, end, said } = play({ servers: 1 });
    end("W0", 0);
    expect(control.stopSignal("server")).toBeUndefined();
    end("W1", 0);
    expect([control.phase, control.stopSignal("server")]).toEqual(["closing", "SIGTERM"]);
    end("S0", 0);
    expect([control.phase, control.exitCode, said]).toEqual(["over", 0, []]);
  });

  it("ends with the first failure, workers before servers, and says who and what", () => {
    const { control, end, pass, said } = play({ servers: 1 });
    pass(41_000);
    expect(end("W1", 3)).toEqual({ kind: "stay down" });
    expect([control.phase, control.stopSignal("worker"), control.stopSignal("server")]).toEqual([
      "stopping",
      "SIGTERM",
      undefined,
    ]);
    expect(said.join("\n")).toMatch(
      /^worker 1 \(pid 102 on here\) ended with code 3 at \d\d:\d\d:\d\d, after 41 s; its last lines:\n {2}the last line\nending 2 other processes$/,
    );
    end("W0", 9);
    expect(control.stopSignal("server")).toBe("SIGTERM");
    end("S0", "SIGTERM");
    expect([control.phase, control.exitCode]).toEqual(["over", 3]);
  });

  it("gives a process that a signal killed the code that a shell gives", () => {
    const { control, end } = play({ workers: 1 });
    end("W0", "SIGSEGV");
    expect([control.phase, control.exitCode]).toEqual(["over", 139]);
  });

  it("starts workers again as often as asked", () => {
    const { control, end, start, pass, said } = play({ restart: 2 });
    for (const attempt of [0, 1]) {
      pass(6000);
      expect(end("W0", "SIGKILL", attempt)).toEqual({ kind: "restart", attempt: attempt + 1, delayMs: 0 });
      expect(control.processes().find(({ rank }) => rank === 0)).toMatchObject({ state: "restarting" });
      start("W0", attempt + 1);
    }
    expect(said[0]).toMatch(/^worker 0 .* was killed by SIGKILL at .*, after 6.0 s; it is started again$/);
    expect(said[1]).toMatch(/^worker 0 .* was started at .*, attempt 1$/);
    expect(end("W0", 1, 2)).toEqual({ kind: "stay down" });
    expect(control.phase).toBe("stopping");
  });

  it("does not start again what was used wrongly or cannot be run", () => {
    for (const code of [2, 127]) expect(play({ restart: 5 }).end("W0", code)).toEqual({ kind: "stay down" });
  });

  it("starts servers again, later and later, and gives up when they end at once", () => {
    const { control, end, start, pass } = play({ servers: 1 });
    for (const attempt of [0, 1, 2, 3]) {
      pass(60_000);
      expect(end("S0", attempt % 2 === 0 ? "SIGKILL" : 0, attempt)).toMatchObject({ kind: "restart", delayMs: 0 });
      start("S0", attempt + 1);
    }
    expect(end("S0", 1, 4)).toMatchObject({ kind: "restart", attempt: 5, delayMs: 0 });
    start("S0", 5);
    expect(end("S0", 1, 5)).toMatchObject({ kind: "restart", attempt: 6, delayMs: 200 });
    start("S0", 6);
    expect(end("S0", 1, 6)).toEqual({ kind: "stay down" });
    expect(control.stopSignal("worker")).toBe("SIGTERM");
  });

  it("goes on with as many workers as are enough", () => {
    const { control, end, said } = play({ workers: 3, minWorkers: 2 });
    end("W2", 1);
    expect([control.phase, said.length]).toEqual(["running", 1]);
    expect(said[0]).toMatch(/the job goes on with 2 workers$/);
    end("W0", 0);
    end("W1", 0);
    expect([control.phase, control.exitCode]).toEqual(["over", 0]);
    const second = play({ workers: 3, minWorkers: 2 });
    second.end("W2", 1);
    second.end("W1", 5);
    expect([second.control.phase, second.control.stopSignal("worker")]).toEqual(["stopping", "SIGTERM"]);
    second.end("W0", 0);
    expect(second.control.exitCode).toBe(5);
  });

  it("passes on Ctrl-C, and kills at the second", () => {
    const { control, end } = play({ servers: 1 });
    control.interrupt("SIGINT", "SIGINT");
    expect([control.stopSignal("worker"), control.stopSignal("server")]).toEqual(["SIGINT", undefined]);
    end("W0", 0);
    control.interrupt("SIGINT", "SIGINT");
    expect([control.stopSignal("worker"), control.stopSignal("server")]).toEqual(["SIGKILL", "SIGKILL"]);
    end("W1", "SIGKILL");
    end("S0", "SIGKILL");
    expect([control.phase, control.exitCode]).toEqual(["over", 130]);
    control.interrupt("SIGTERM", "late");
    expect(control.exitCode).toBe(130);
  });

  it("takes the same signal to many tasks as one", () => {
    const { control, pass } = play({ echoMs: 1000 });
    control.interrupt("SIGTERM", "task 0");
    pass(900);
    control.interrupt("SIGTERM", "task 1");
    expect(control.stopSignal("worker")).toBe("SIGTERM");
    pass(1100);
    control.interrupt("SIGTERM", "task 0");
    expect(control.stopSignal("worker")).toBe("SIGKILL");
  });

  it("fails when a server cannot save at the end", () => {
    const { control, end, said } = play({ servers: 1, workers: 1 });
    end("W0", 0);
    end("S0", 4);
    expect([control.phase, control.exitCode]).toEqual(["over", 4]);
    expect(said[0]).toMatch(/^server 0 .* ended with code 4 while it was ended$/);
  });

  it("does not wait for a process that was to be started again when the job ends", () => {
    const { control, end } = play({ restart: 1 });
    end("W0", 1);
    control.interrupt("SIGTERM", "flotilla stop");
    end("W1", 0);
    expect(control.phase).toBe("stopping");
    end("W0", 0);
    expect([control.phase, control.exitCode]).toEqual(["over", 143]);
  });

  it("hears a late word about an earlier attempt as nothing", () => {
    const { control, end, start } = play({ restart: 2 });
    end("W0", 1);
    start("W0", 1);
    expect(end("W0", 1, 0)).toEqual({ kind: "stay down" });
    expect(control.processes().find(({ rank }) => rank === 0)).toMatchObject({ state: "running", attempt: 1 });
  });
});
