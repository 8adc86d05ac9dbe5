// For tests: a process that serves one partition and is killed. Arguments: folder, address. Says where it listens.
import { startThread } from "./server.ts";

const [folder, address] = process.argv.slice(2) as [string, string];
const thread = await startThread(
  { partition: 0, address, folder, heapBytes: 2 ** 28 },
  { onFailure: (error) => process.send!({ failure: error.message }) },
);
process.send!({ address: thread.address, restored: thread.restored });
process.on("disconnect", () => process.exit(1));
