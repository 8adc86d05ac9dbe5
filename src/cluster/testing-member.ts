// For tests: a process that is a member of a job, does as its lines of standard input say and answers each with a line.
import { createInterface } from "node:readline";
import type { WorkQueue } from "./index.ts";
import { Member, worldFromEnvironment } from "./index.ts";

const member = await Member.connect(worldFromEnvironment());
const queues = new Map<string, WorkQueue>();
const { role, rank } = member.world;

async function act(words: readonly string[]): Promise<unknown> {
  const [verb, name = "", value = ""] = words;
  switch (verb) {
    case "join":
      return await member.join({ addresses: name === "" ? [] : [name] });
    case "members":
      return (await member.members("worker", Number(name))).map(({ addresses }) => addresses[0]);
    case "barrier":
      return await member.barrier(name, Number(value), { timeoutMs: 20_000 });
    case "set":
      return await member.set(name, value);
    case "get":
      return Buffer.from(await member.get(name)).toString();
    case "lease":
      queues.set(name, await member.lease(name, value.split("")));
      return null;
    case "next": {
      const unit = await queues.get(name)!.next();
      if (value !== "") await unit?.progress(value);
      return unit ?? null;
    }
    case "leave":
      return await member.leave();
    default:
      throw new Error(`unknown verb ${verb}`);
  }
}

console.log(JSON.stringify({ role, rank }));
for await (const line of createInterface({ input: process.stdin })) {
  const words = line.split(" ");
  const answer = await act(words).then(
    (result) => ({ result: result ?? null }),
    (error: Error) => ({ error: error.message }),
  );
  console.log(JSON.stringify(answer));
  if (words[0] === "leave") break;
}
