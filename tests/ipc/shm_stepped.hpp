#pragma once
// For tests that walk through every interleaving of a small cast.
//
// Each access to shared memory is a step. A state is the memory and, for each actor, what its steps
// have returned so far: that decides what it does next. To make one step an actor is run from its
// beginning with the recorded answers, makes one new access, and is thrown out of its function. So
// states can be copied, compared and visited once.
//
// A push or a pop of a ring that tries anew knows nothing of its last attempt, so its answers are
// forgotten then: without that there would be twenty times as many states.

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <utility>

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
    std::size_t limit = 63;      // who needs more steps is not followed any further
    bool has_read_cell = false;  // in its last step
};
inline Tape tape;

/// What a word is to a ring; all but index and cell are other.
enum class What : std::uint8_t { other, index, cell };

template <class F>
std::uint64_t step(bool begins_attempt, bool reads_cell, F&& access) {
    if (tape.answers == nullptr) return access();  // the referee, who looks without being an actor
    if (tape.position == tape.answers->size) {
        if (tape.has_stepped) std::longjmp(interruption, 1);
        if (begins_attempt && !tape.has_read_cell) tape.position = tape.answers->size = 0;
        if (tape.position == tape.limit) std::longjmp(interruption, 2);
        tape.has_stepped = true;
        tape.answers->list[tape.answers->size++] = access();
    }
    tape.has_read_cell = reads_cell;
    return tape.answers->list[tape.position++];
}

class SteppedWord {
 public:
    SteppedWord() = default;
    explicit SteppedWord(What what) : what_{what} {}

    // Each attempt of a push or a pop begins with its index. A second look at the index, right
    // after the cell, belongs to the attempt.
    [[nodiscard]] std::uint64_t load() const {
        return step(what_ == What::index, what_ == What::cell, [&] { return value; });
    }
    void store(std::uint64_t to) {
        step(false, false, [&] { return value = to; });
    }
    bool swap(std::uint64_t expected, std::uint64_t desired) {
        return step(false, false, [&] {
                   if (value != expected) return 0;
                   value = desired;
                   return 1;
               }) != 0;
    }
    std::uint64_t value = 0;

 private:
    What what_ = What::other;
};

/// What a state is told by: two hashes, of 128 bits together, so that two states are hardly ever
/// taken for one.
using Key = std::pair<std::uint64_t, std::uint64_t>;

class KeyBuilder {
 public:
    void add(std::uint64_t value) {
        one_ = (one_ ^ value) * 0xff51afd7ed558ccd;
        one_ ^= one_ >> 32;
        two_ = (two_ + value) * 0xc4ceb9fe1a85ec53;
        two_ ^= two_ >> 29;
    }
    [[nodiscard]] Key key() const { return {one_, two_}; }

 private:
    std::uint64_t one_ = 0x9e3779b97f4a7c15;
    std::uint64_t two_ = 0xcbf29ce484222325;
};

}  // namespace shm_test
