@0xb5c1f0a2d7e34961;
# The messages of the tests.

struct Document {
  name @0 :Text;
  body @1 :Data;
  parts @2 :List(Data);
}

struct Other {
  number @0 :UInt64;
}
