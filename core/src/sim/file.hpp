#pragma once
// What stands behind a descriptor of the simulated kernel.

#include <cerrno>
#include <cstdint>
#include <span>
#include <sys/stat.h>
#include <sys/uio.h>
#include <vector>

#include <green/sys.hpp>

namespace green::sim {

class Kernel;
class Socket;

[[nodiscard]] constexpr sys::Outcome failed(int error) noexcept { return {-1, error}; }
[[nodiscard]] constexpr sys::Outcome done(std::size_t value = 0) noexcept {
    return {static_cast<std::intptr_t>(value), 0};
}

/// An open file: what open(2) calls an open file description. Descriptors share it.
class File {
 public:
    explicit File(Kernel& kernel) noexcept : kernel_{kernel} {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    virtual ~File() = default;

    virtual sys::Outcome read(std::span<const iovec> into) = 0;
    virtual sys::Outcome write(std::span<const iovec> from) = 0;
    /// Which of poll(2)'s events hold now; those that are asked for or not.
    [[nodiscard]] virtual std::uint32_t events() = 0;
    [[nodiscard]] virtual mode_t type() const noexcept = 0;
    /// The last descriptor was closed.
    virtual void closed() {}
    [[nodiscard]] virtual Socket* as_socket() noexcept { return nullptr; }

    /// An edge: those who watch it are told at the hub's next look what holds then.
    void changed();

    bool blocking = false;     // O_NONBLOCK is not set
    std::vector<int> numbers;  // of the descriptors that watch it

 protected:
    Kernel& kernel_;
};

}  // namespace green::sim
