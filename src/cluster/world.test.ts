import { hostname, tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClusterError, environmentOf, expandNodeList, type World, worldFromEnvironment } from "./index.ts";

const launched = {
  FLOTILLA_JOB: "ctr",
  FLOTILLA_ROLE: "worker",
  FLOTILLA_RANK: "1",
  FLOTILLA_WORKERS: "4",
  FLOTILLA_SERVERS: "2",
  FLOTILLA_COORDINATOR: "tcp://127.0.0.1:7000",
};
const slurm = {
  SLURM_JOB_ID: "12",
  SLURM_STEP_ID: "0",
  SLURM_PROCID: "3",
  SLURM_NTASKS: "4",
  SLURM_STEP_NODELIST: "n[1-2]",
  SLURMD_NODENAME: "n2",
};
const openMpi = {
  OMPI_COMM_WORLD_RANK: "2",
  OMPI_COMM_WORLD_SIZE: "4",
  OMPI_COMM_WORLD_LOCAL_SIZE: "4",
  PMIX_NAMESPACE: "3141.1",
};
const hydra = { PMI_RANK: "0", PMI_SIZE: "2", MPI_LOCALNRANKS: "2", FLOTILLA_JOB: "mine" };
const privateFolder = (job: string): string => join(tmpdir(), `flotilla-${userInfo().uid}`, job);
const alone = { role: "worker", rank: 0, workers: 1, servers: 0, attempt: 0 };

describe("the world of a process", () => {
  it("that was started plainly is the whole job", () => {
    expect(worldFromEnvironment({})).toEqual({ job: `local-${process.pid}`, ...alone });
    expect(worldFromEnvironment({ FLOTILLA_THREADS: "3" })).toMatchObject({ threads: 3 });
  });

  it("that flotilla launch started is told by its variables", () => {
    const more = { FLOTILLA_ATTEMPT: "2", FLOTILLA_THREADS: "8", FLOTILLA_KEYS: "/k", FLOTILLA_HOST: "b" };
    expect(
      worldFromEnvironment({ ...launched, ...more, FLOTILLA_FOLDER: "/f", FLOTILLA_TRUSTED_NETWORK: "1" }),
    ).toEqual({
      ...{ job: "ctr", role: "worker", rank: 1, workers: 4, servers: 2, coordinator: "tcp://127.0.0.1:7000" },
      ...{ attempt: 2, threads: 8, keys: "/k", host: "b", folder: "/f", trustedNetwork: true },
    });
  });

  it("survives being written as variables", () => {
    const text = fc.stringMatching(/^[a-z][a-z0-9./-]{0,20}$/);
    const optional = { threads: fc.integer({ min: 1, max: 1024 }), keys: text, host: text, folder: text };
    const worlds = fc
      .record({
        job: fc.stringMatching(/^[A-Za-z0-9][\w.-]{0,20}$/),
        role: fc.constantFrom("worker" as const, "server" as const),
        rank: fc.nat(7),
        workers: fc.integer({ min: 8, max: 100 }),
        servers: fc.integer({ min: 8, max: 100 }),
        coordinator: fc.constant("unix:///tmp/x"),
        attempt: fc.nat(5),
      })
      .chain((base) => fc.record(optional, { requiredKeys: [] }).map((more): World => ({ ...base, ...more })));
    fc.assert(
      fc.property(worlds, (world) => {
        expect(worldFromEnvironment(environmentOf(world))).toEqual(world);
      }),
    );
  });

  it("of a task of srun on several nodes", () => {
    const shared = resolve(".flotilla/slurm-12.0");
    expect(worldFromEnvironment({ ...slurm, SLURM_RESTART_COUNT: "1" })).toEqual({
      ...{ job: "slurm-12.0", role: "worker", rank: 3, workers: 4, servers: 0, attempt: 1 },
      coordinator: pathToFileURL(join(shared, "coordinator-1.json")).href,
      ...{ keys: join(shared, "keys"), host: "n2", folder: privateFolder("slurm-12.0") },
    });
  });

  it("of a task of srun on one node needs no keys", () => {
    const world = worldFromEnvironment({ ...slurm, SLURM_STEP_NODELIST: "n7" });
    expect(world).not.toHaveProperty("keys");
    expect(world).not.toHaveProperty("host");
    expect(world.coordinator).toBe(pathToFileURL(join(privateFolder("slurm-12.0"), "coordinator-0.json")).href);
  });

  it("counts the tasks of the step, not of the job", () => {
    expect(worldFromEnvironment({ ...slurm, SLURM_PROCID: "1", SLURM_STEP_NUM_TASKS: "2" }).workers).toBe(2);
    const single = worldFromEnvironment({ ...slurm, SLURM_PROCID: "0", SLURM_STEP_NUM_TASKS: "1" });
    expect(single).toMatchObject(alone);
    expect(single).not.toHaveProperty("coordinator");
  });

  it.each([
    ["the batch script of a job", undefined],
    ["an interactive shell of salloc", String(0xfffffffa)],
  ])("of %s is the whole job", (_, step) => {
    expect(worldFromEnvironment({ ...slurm, SLURM_STEP_ID: step })).toMatchObject(alone);
  });

  it("of a task of Open MPI, also within Slurm", () => {
    const task = { job: "mpi-3141.1", role: "worker", rank: 2, workers: 4, servers: 0 };
    expect(worldFromEnvironment({ ...slurm, ...openMpi })).toMatchObject(task);
    expect(worldFromEnvironment({ ...openMpi, OMPI_COMM_WORLD_LOCAL_SIZE: "2" })).toMatchObject({
      ...task,
      host: hostname(),
      keys: resolve(".flotilla/mpi-3141.1/keys"),
    });
  });

  it("of a task of hydra", () => {
    expect(worldFromEnvironment(hydra)).toMatchObject({
      job: "mine",
      rank: 0,
      workers: 2,
      folder: privateFolder("mine"),
    });
  });

  it.each([
    [{ ...launched, FLOTILLA_RANK: "4" }, 'FLOTILLA_RANK is "4"; expected a whole number from 0 to 3'],
    [{ ...launched, FLOTILLA_RANK: "one" }, 'FLOTILLA_RANK is "one"'],
    [
      { ...launched, FLOTILLA_ROLE: "server", FLOTILLA_RANK: "2" },
      'FLOTILLA_RANK is "2"; expected a whole number from 0 to 1',
    ],
    [{ ...launched, FLOTILLA_ROLE: "boss" }, 'FLOTILLA_ROLE is "boss"; expected worker or server'],
    [{ ...launched, FLOTILLA_WORKERS: "0" }, 'FLOTILLA_WORKERS is "0"'],
    [{ ...launched, FLOTILLA_COORDINATOR: "" }, 'FLOTILLA_COORDINATOR is ""'],
    [{ ...launched, FLOTILLA_JOB: "../up" }, 'FLOTILLA_JOB is "../up"'],
    [{ ...launched, FLOTILLA_THREADS: "-1" }, 'FLOTILLA_THREADS is "-1"; expected a whole number from 1 to 1024'],
    [{ ...launched, FLOTILLA_ATTEMPT: "1.5" }, 'FLOTILLA_ATTEMPT is "1.5"'],
    [{ ...slurm, SLURM_PROCID: "4" }, 'SLURM_PROCID is "4"; expected a whole number from 0 to 3'],
    [{ ...slurm, SLURM_NTASKS: undefined }, "SLURM_NTASKS is not set"],
    [{ ...slurm, SLURM_JOB_ID: "x" }, 'SLURM_JOB_ID is "x"'],
    [{ ...slurm, SLURM_STEP_NODELIST: "n[1-" }, 'node list "n[1-": brackets do not match'],
    [{ ...slurm, SLURM_RESTART_COUNT: "often" }, 'SLURM_RESTART_COUNT is "often"'],
    [{ ...openMpi, OMPI_COMM_WORLD_SIZE: "" }, 'OMPI_COMM_WORLD_SIZE is ""'],
    [{ ...openMpi, OMPI_COMM_WORLD_RANK: "9" }, 'OMPI_COMM_WORLD_RANK is "9"'],
    [{ ...hydra, PMI_RANK: "2" }, 'PMI_RANK is "2"'],
    [{ ...hydra, FLOTILLA_JOB: undefined }, "FLOTILLA_JOB is not set; expected a name for this job, because PMI"],
  ])("is refused by name: %j", (env, message) => {
    expect(() => worldFromEnvironment(env)).toThrow(ClusterError);
    expect(() => worldFromEnvironment(env)).toThrow(message);
  });
});

describe("lists of nodes", () => {
  it.each([
    ["login", ["login"]],
    ["n[1-3,7]", ["n1", "n2", "n3", "n7"]],
    ["gpu[008-011]-ib,cpu1", ["gpu008-ib", "gpu009-ib", "gpu010-ib", "gpu011-ib", "cpu1"]],
    ["r[1-2]n[1-2],x.y", ["r1n1", "r1n2", "r2n1", "r2n2", "x.y"]],
  ])("%s", (list, nodes) => {
    expect(expandNodeList(list)).toEqual(nodes);
  });

  it.each([
    ["", '"" is no name'],
    ["n[3-1]", "the range 3-1 runs backwards"],
    ["n[1", "brackets do not match"],
    ["n1]", "brackets do not match"],
    ["n[[1]]", "brackets do not match"],
    ["n[a]", '"a" is no number or range'],
    ["a,,b", '"" is no name'],
    ["n[1-999999999]", "more than 100000 nodes"],
    ["n[1-1000]m[1-1000]", "more than 100000 nodes"],
    ["n $(x)", "is no name of nodes"],
  ])("%j is refused", (list, reason) => {
    expect(() => expandNodeList(list)).toThrow(ClusterError);
    expect(() => expandNodeList(list)).toThrow(reason);
  });
});
