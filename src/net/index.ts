// Frames over authenticated connections, and remote calls: what processes of a job speak with each other.
export { type Address, formatAddress, isLoopback, parseAddress } from "./address.ts";
export { AppliedCalls, type AppliedClient, type AppliedOptions, type Outcome } from "./applied.ts";
export { type ClientOptions, RpcClient } from "./client.ts";
export { ConnectionError, type NetErrorCode, RpcError } from "./error.ts";
export {
  type KeyInfo,
  type KeysOptions,
  keyRoles,
  makeKeys,
  type RotateOptions,
  rotateKeys,
  showKeys,
} from "./keys.ts";
export { RpcServer, type ServerOptions } from "./server.ts";
export { dial, type Listener, type ListenSettings, listen } from "./sockets.ts";
export type {
  CallContext,
  CallOptions,
  Faults,
  Handler,
  Handlers,
  KeysOption,
  LinkOptions,
  Method,
  MethodOptions,
  Peer,
} from "./types.ts";
