// Loaded before the script of a process that a launcher has started: ends the process when the launcher has gone, however
// it went. The launcher holds the other end of a pipe.
import { Socket } from "node:net";

/** How long the script may take to end in order. */
const GRACE_MS = 10_000;

const fd = Number(process.env.FLOTILLA_GUARD_FD);
// Processes that the script starts have no such pipe.
delete process.env.FLOTILLA_GUARD_FD;
if (fd > 2) {
  const launcher = new Socket({ fd, readable: true, writable: false });
  launcher.on("error", () => {});
  launcher.once("close", () => {
    process.kill(process.pid, "SIGTERM");
    setTimeout(() => process.kill(process.pid, "SIGKILL"), GRACE_MS).unref();
  });
  launcher.resume();
  launcher.unref();
}
