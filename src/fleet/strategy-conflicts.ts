// What does not go together in a strategy, or with the optimizers and servers of a job. Errors name both sides and what to take.
import { isLocal, type Strategy } from "./strategy.ts";

const apartOptimizers: readonly string[] = ["sgd", "momentum"];

/** What does not go together in mode `collective`. @throws Error that names both */
export function expectCollective(
  strategy: Strategy,
  optimizers: Readonly<Record<string, { readonly name: string }>>,
): void {
  const { localSGD, adaptiveLocalSGD, syncBatchNorm, ema, gradientMerge = 1, amp, elastic } = strategy;
  expectCompressible(strategy, optimizers);
  if (strategy.dgc !== undefined && elastic !== undefined) {
    throw new Error("strategy: dgc does not combine with elastic: what ranks have held back would be lost with them");
  }
  if (!isLocal(strategy)) return;
  const name = localSGD === undefined ? "adaptiveLocalSGD" : "localSGD";
  const fail = (what: string): never => {
    throw new Error(`strategy: ${name} ${what}`);
  };
  if (localSGD !== undefined && adaptiveLocalSGD !== undefined)
    fail("and adaptiveLocalSGD exclude each other; take one");
  const other = Object.values(optimizers).find((optimizer) => !apartOptimizers.includes(optimizer.name));
  if (other !== undefined) {
    fail(`takes the mean of weights, which is right for SGD and momentum only; the optimizer is ${other.name}`);
  }
  if (elastic !== undefined) fail("does not combine with elastic: weights of ranks differ between two means");
  if (syncBatchNorm === true) fail("does not combine with syncBatchNorm: ranks that train apart do not meet in a step");
  if (ema !== undefined) fail("does not combine with ema: each rank would keep averages of its own");
  if (gradientMerge > 1)
    fail(`does not combine with gradientMerge: ${gradientMerge}; take more steps between two means`);
  if (amp === "fp16") fail('does not combine with amp: "fp16", whose loss scales would differ; take amp: "bf16"');
}

/** What does not go together with deep gradient compression. @throws Error that names both */
function expectCompressible(strategy: Strategy, optimizers: Readonly<Record<string, { readonly name: string }>>): void {
  const { dgc, clip, gradientMerge = 1, amp } = strategy;
  if (dgc === undefined) return;
  const fail = (what: string): never => {
    throw new Error(`strategy: dgc ${what}`);
  };
  const other = Object.values(optimizers).find((optimizer) => !apartOptimizers.includes(optimizer.name));
  if (other !== undefined)
    fail(
      `keeps momentum before gradients are sent, so it serves SGD and momentum only; the optimizer is ${other.name}`,
    );
  if (isLocal(strategy)) fail("does not combine with LocalSGD, which sends weights, not gradients; take one");
  if (gradientMerge > 1)
    fail(`does not combine with gradientMerge: ${gradientMerge}; what is not sent is gathered anyway`);
  if (clip !== undefined)
    fail(
      `does not combine with clip: ${JSON.stringify(clip)}, which would bound what several steps have gathered; take dgc: { clipNorm }`,
    );
  if (amp === "fp16")
    fail('does not combine with amp: "fp16", whose loss scale changes while gradients wait; take amp: "bf16"');
}

/** What needs servers, and what does not serve with them. @throws Error that names the switch and what to do */
export function expectServers(
  strategy: Strategy,
  optimizers: Readonly<Record<string, { readonly name: string }>>,
  served: boolean,
): void {
  const { mode, ema, gradientMerge = 1, clip, amp } = strategy;
  const fail = (what: string): never => {
    throw new Error(`strategy: ${what}`);
  };
  if (!served) {
    if (mode === "half-async" || mode === "geo") {
      fail(
        `mode "${mode}" is for jobs with parameter servers: flotilla launch --servers 1 …; here take "async" or "sync"`,
      );
    }
    // What says how to send is harmless where nothing is sent: the same script runs with and without servers.
    return;
  }
  if (mode === "collective") {
    fail('mode "collective" is for jobs without parameter servers; with servers take "sync", or start the job without');
  }
  if (ema !== undefined) fail("ema does not combine with parameter servers, which keep no averages");
  if (gradientMerge > 1) fail(`gradientMerge: ${gradientMerge} does not combine with parameter servers`);
  if (clip !== undefined && !("value" in clip)) {
    fail(
      `clip: ${JSON.stringify(clip)} does not combine with parameter servers, each of which has a part of the gradients; take clip: { value }`,
    );
  }
  if (amp === "fp16") fail('amp: "fp16" does not combine with parameter servers; take amp: "bf16"');
  if (mode !== "geo") return;
  const other = Object.values(optimizers).find(({ name }) => name !== "sgd");
  if (other !== undefined) {
    fail(
      `mode "geo" adds up differences of weights, which is right for SGD only; the optimizer is ${other.name}: take optim.sgd, or mode "async"`,
    );
  }
}
