#pragma once

namespace bench {

/// Makes the compiler believe that somebody reads and changes the object here, so that what was
/// done to it before has to be done.
template <class T>
inline void keep(T& object) {
    asm volatile("" : : "r"(&object) : "memory");
}

}  // namespace bench
