@0xdb1c0e7bf5a94d63;
# What the capnp_* cases send.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("bench");

struct Sample {
  sequence @0 :UInt64;
  time @1 :UInt64;
  kind @2 :UInt32;
  name @3 :Text;
  payload @4 :Data;
}
