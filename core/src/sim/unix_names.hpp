#pragma once

#include <map>
#include <string>

#include <green/endpoint.hpp>

namespace green::sim {

class UnixSocket;

/// The names of Unix sockets in a simulation: files of its own, of which the real file system knows
/// nothing, and abstract names. A file stays when its socket is gone, until it is unlinked.
class UnixNames {
 public:
    /// False when the name is in use.
    [[nodiscard]] bool hold(UnixSocket& socket, const Endpoint& name) {
        return names_.emplace(name.text(), &socket).second;
    }
    void let_go(const UnixSocket& socket, const Endpoint& name) {
        const auto found = names_.find(name.text());
        if (found == names_.end() || found->second != &socket) return;  // unlinked before
        if (name.path().empty()) {
            names_.erase(found);
        } else {
            found->second = nullptr;
        }
    }
    [[nodiscard]] bool has(const Endpoint& name) const { return names_.contains(name.text()); }
    [[nodiscard]] UnixSocket* find(const Endpoint& name) const {
        const auto found = names_.find(name.text());
        return found == names_.end() ? nullptr : found->second;
    }
    [[nodiscard]] bool has_file(const char* path) const { return names_.contains(file(path)); }
    bool remove_file(const char* path) { return names_.erase(file(path)) != 0; }

 private:
    [[nodiscard]] static std::string file(const char* path) { return std::string{"unix:"} + path; }

    std::map<std::string, UnixSocket*> names_;  // nullptr: the file of one that is gone
};

}  // namespace green::sim
