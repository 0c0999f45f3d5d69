#pragma once
// Pipes and eventfds of a simulation.

#include <cstdint>
#include <memory>
#include <utility>

#include "sim/file.hpp"

namespace green::sim {

/// The reading and the writing end of a new pipe.
[[nodiscard]] std::pair<std::shared_ptr<File>, std::shared_ptr<File>> make_pipe(Kernel& kernel);

class EventCounter final : public File {
 public:
    EventCounter(Kernel& kernel, std::uint64_t value, bool one_by_one) noexcept
        : File{kernel}, value_{value}, one_by_one_{one_by_one} {}

    sys::Outcome read(std::span<const iovec> into) override;
    sys::Outcome write(std::span<const iovec> from) override;
    [[nodiscard]] std::uint32_t events() override;
    [[nodiscard]] mode_t type() const noexcept override { return 0; }

 private:
    static constexpr std::uint64_t most = ~std::uint64_t{0} - 1;

    std::uint64_t value_;
    bool one_by_one_;
};

}  // namespace green::sim
