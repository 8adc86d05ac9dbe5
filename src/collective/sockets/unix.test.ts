// The contract of transports between processes, over Unix sockets.
import { transportContract } from "../testing-contract.ts";
import { runProcesses } from "../testing-processes.ts";

transportContract("unix", runProcesses("unix"), { sizes: [2, 3] });
