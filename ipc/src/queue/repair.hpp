#pragma once
// What the keeper does after one death, in slices.

#include <cstddef>
#include <cstdint>

#include "keeper.hpp"

namespace green::ipc::shm {

class Keeper::Repair {
 public:
    /// Borrows the keeper. One after the other: two that take turns begin a part of their work anew
    /// each time.
    Repair(Keeper& keeper, Owner owner);
    Repair(const Repair&) = delete;
    Repair& operator=(const Repair&) = delete;
    ~Repair();

    /// One slice: looks at `budget` places at most, about. True: the owner's number is free. Throws
    /// SegmentError; then it is over.
    [[nodiscard]] bool go_on(std::size_t budget = 4096);

 private:
    enum class Stage : std::uint8_t { pins, slots, claims, zombies, chunks, rings, rest, done };
    [[nodiscard]] bool step(std::size_t& budget);
    /// Calls `look` for each place up to `end`, from where it was. False: there are more.
    template <class F>
    [[nodiscard]] bool each(std::uint64_t end, std::size_t cost, std::size_t& budget, F&& look);

    Keeper& keeper_;
    const Owner owner_;
    Stage stage_ = Stage::pins;
    std::uint64_t at_ = 0;
    Refill rings_;
};

}  // namespace green::ipc::shm
