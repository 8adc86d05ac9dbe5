// A script that runs alone, or as a job of many processes by `flotilla launch --workers 2 examples/launch.ts`: each says
// where it is.
import { fleet } from "../src/index.ts";

const job = await fleet.init({ threads: 1 });
console.log(`worker ${job.rank} of ${job.worldSize}, ${job.threads} thread, ${job.engine}`);
await job.close();
