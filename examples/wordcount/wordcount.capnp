@0xe2f6d8b1a90c5743;
# What travels between the workers of this example.

struct Document {
  name @0 :Text;
  body @1 :Data;
}

struct Total {
  name @0 :Text;
  lines @1 :UInt64;
  words @2 :UInt64;
  bytes @3 :UInt64;
}
