// The contract of transports between processes, over loopback tcp.
import { transportContract } from "../testing-contract.ts";
import { runProcesses } from "../testing-processes.ts";

transportContract("tcp", runProcesses("tcp"), { sizes: [2, 3] });
