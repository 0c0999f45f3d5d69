@0xb0d0507cc91556e1;
# An end of a pipe on its way to another process. The descriptors travel beside it, in the order in
# which they are named here.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("green::ipc::parcel");

struct Directions {
  receives @0 :Bool;
  sends @1 :Bool;
}

struct SchemaName {
  id @0 :UInt64;
  name @1 :Text;
}

struct End {
  limit @0 :UInt64;  # bytes of one payload
  madeFor @1 :Directions;
  open @2 :Directions;  # what of it was not closed
  atEnd @3 :Bool;  # the peer has ended
  helloIsDue @4 :Bool;
  helloIsExpected @5 :Bool;
  sends @6 :SchemaName;
  receives @7 :SchemaName;

  files @11 :UInt8;  # the places of large files that it keeps, a bit for each; their descriptors come before those that arrived
  arrived @8 :UInt32;  # descriptors of frames that were not received yet; they come last

  way :union {
    stream @9 :Stream;  # the socket; with pipes, first the one that receives, then the one that sends
    ring @10 :Void;  # the socket; for each direction it was made for, first the one that receives: memory, bell for data, bell for room; files
  }
}

struct Stream {
  coalesces @1 :Bool;
  inbox @0 :Data;  # was read, but not given out yet
  begun @2 :UInt32;  # how many of those bytes are a frame that has begun, whose rest does not stand behind them
  pipes @3 :Directions;  # which of them there are; none: all goes over the socket
  tellsClose @4 :Bool;
}
