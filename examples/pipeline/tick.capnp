@0xc1f7a0d2b94e6835;

# What travels from the tickers to the printer.

struct Tick {
  process @0 :UInt32;
  number @1 :UInt64;  # counted from 0 by each process
}
