// The other end of the control socket, for the command line and for tests.
#pragma once

#include <optional>
#include <string>

#include <green/deadline.hpp>
#include <green/fd.hpp>
#include <green/socket.hpp>

#include "control_message.hpp"

namespace greensup {

class ControlClient {
 public:
    /// Connects to the supervisor of a run directory. Throws Refusal with Code::not_found.
    explicit ControlClient(const std::string& run_dir);

    /// Sends a request and waits for the line that answers it. Throws Refusal when the supervisor
    /// goes away without one, or takes longer.
    std::string ask(const Request& request, green::Deadline deadline = green::Deadline::never());

    /// The same for what takes long: each time that nothing has come for so long, another
    /// connection asks whether the supervisor still answers. Throws Refusal when it does not.
    std::string ask_patiently(const Request& request, green::Duration silence);

    [[nodiscard]] int pid() const noexcept { return pid_; }
    /// Waits until the supervisor is gone. Returns false once `deadline` has passed.
    bool await_end(green::Deadline deadline = green::Deadline::never());

 private:
    template <class Call>
    std::string as_answer(Call&& call);
    void send(const Request& request, green::Deadline deadline);
    std::string receive(green::Deadline deadline);

    std::string run_dir_;
    green::Stream stream_;
    int pid_ = 0;
    green::Fd process_;
};

}  // namespace greensup
