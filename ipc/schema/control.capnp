@0xd3a1c87f52b0e914;
# What a supervisor and its workers say to each other over the control channel, one message a frame.
# Fields are only ever added; `protocol` counts the changes that the other side must know of.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("green::ipc::control");

const protocol :UInt16 = 1;

struct ToWorker {
  union {
    welcome @0 :Welcome;   # the first message; its descriptors are the sockets, in order
    queue @1 :Queue;       # `queues` of them follow; descriptors: the segment, then the doorbells
    pipe @3 :Pipe;         # `pipes` of them follow the queues; its descriptor is the end
    drain @2 :Drain;       # finish what was begun and leave; the same as SIGTERM
  }
}

struct Welcome {
  protocol @0 :UInt16;
  supervisor @1 :Text;
  pool @2 :Text;
  slot @3 :UInt32;         # counted from 0
  count @4 :UInt32;        # slots of the pool
  generation @5 :UInt64;
  owner @6 :UInt32;        # this process in every queue's segment; 1 to 4095
  runDir @7 :Text;
  sockets @8 :List(Text);  # names
  queues @9 :UInt32;       # how many queue messages follow
  drainMilliseconds @10 :UInt64;
  pipes @11 :UInt32;       # how many pipe messages follow those of the queues
}

struct Queue {
  name @0 :Text;
  path @1 :Text;           # for messages; the descriptor is what counts
  schema @2 :Text;         # as configured; "bytes": any
  doorbells @3 :UInt32;
  produce @4 :Bool;
  consume @5 :Bool;
}

struct Pipe {
  name @0 :Text;
  reads @1 :Bool;          # the worker reads from it; else it writes
  largest @2 :UInt64;      # bytes of one payload
}

struct Drain {
  milliseconds @0 :UInt64; # until the supervisor stops waiting; 0: as told in the welcome
  lastOfPool @1 :Bool;     # no other process will take over the sockets
}

struct FromWorker {
  union {
    hello @0 :Hello;       # the first message
    ready @1 :Void;
    draining @2 :Void;
  }
}

struct Hello {
  protocol @0 :UInt16;
  pid @1 :UInt32;
}
