#pragma once
// For tests that walk through every interleaving of a small cast.
//
// Each access to shared memory is a step. A state is the memory and, for each actor, what its steps
// have returned so far: that decides what it does next. To make one step an actor is run from its
// beginning with the recorded answers, makes one new access, and is thrown out of its function. So
// states can be copied, compared and visited once.

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>

namespace shm_test {

/// 1: a step was made; 2: too many of them.
inline std::jmp_buf interruption;

/// What the steps of one actor have returned.
struct Answers {
    std::array<std::uint64_t, 63> list{};
    std::uint64_t size = 0;
};

/// The answers that the running actor has had, and leave for one more.
struct Tape {
    Answers* answers = nullptr;
    std::size_t position = 0;
    bool has_stepped = false;
    std::size_t limit = 63;  // who needs more steps is not followed any further
};
inline Tape tape;

template <class F>
std::uint64_t step(F&& access) {
    if (tape.answers == nullptr) return access();  // the referee, who looks without being an actor
    if (tape.position < tape.answers->size) return tape.answers->list[tape.position++];
    if (tape.has_stepped) std::longjmp(interruption, 1);
    if (tape.position == tape.limit) std::longjmp(interruption, 2);
    tape.has_stepped = true;
    ++tape.answers->size;
    return tape.answers->list[tape.position++] = access();
}

class SteppedWord {
 public:
    [[nodiscard]] std::uint64_t load() const {
        return step([&] { return value; });
    }
    void store(std::uint64_t to) {
        step([&] { return value = to; });
    }
    bool swap(std::uint64_t expected, std::uint64_t desired) {
        return step([&] {
                   if (value != expected) return 0;
                   value = desired;
                   return 1;
               }) != 0;
    }
    std::uint64_t value = 0;
};

}  // namespace shm_test
