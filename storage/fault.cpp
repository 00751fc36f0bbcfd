#include "storage/fault.hpp"

#include <algorithm>

#include "base/checked.hpp"
#include "storage/descriptor.hpp"

namespace cowvet::storage {

namespace {

void hurt(ReadRequest& request, const Fault& fault) {
  const std::uint64_t begin = fault.begin > request.offset ? fault.begin - request.offset : 0;
  if (begin >= request.valid) return;
  const std::uint64_t end = fault.effect == Fault::Effect::cut
                                ? request.into.size()
                                : std::min(fault.end - request.offset, request.valid);
  std::ranges::fill(
      request.into.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
      std::byte{0});
  if (fault.effect == Fault::Effect::cut) {
    request.valid = begin;
    return;
  }
  request.hole = false;
  request.os_error = fault.os_error;
  request.bad_begin = begin;
  request.bad_end = end;
}

}  // namespace

FaultDevice::FaultDevice(Device& under, const std::vector<Fault>& faults) : Wrapper(under) {
  for (const auto& fault : faults) faults_.push_back({fault});
}

const Fault* FaultDevice::strike(Fault::Operation operation, std::uint64_t begin, std::uint64_t end) const {
  const std::scoped_lock lock(mutex_);
  const Fault* struck = nullptr;
  for (auto& [fault, seen] : faults_) {
    if (fault.operation != operation || begin >= fault.end || fault.begin >= end) continue;
    ++seen;
    if (struck == nullptr && (seen == fault.nth || (fault.persistent && seen > fault.nth))) struck = &fault;
  }
  strikes_ += struck != nullptr;
  return struck;
}

void FaultDevice::read(std::span<ReadRequest> batch) const {
  under().read(batch);
  for (auto& request : batch)
    if (const Fault* fault = strike(Fault::Operation::read, request.offset,
                                    base::saturating_add(request.offset, request.into.size())))
      hurt(request, *fault);
}

template <class Change>
base::Result<void> FaultDevice::hurt_change(Fault::Operation operation, const char* what,
                                            std::uint64_t offset, std::uint64_t length,
                                            const Change& change) {
  const Fault* fault = strike(operation, offset, base::saturating_add(offset, length));
  if (fault == nullptr) return change(length);
  if (fault->begin > offset)
    if (auto before = change(fault->begin - offset); !before) return before;
  if (fault->effect == Fault::Effect::cut) return {};
  return std::unexpected(system_error(what, fault->os_error));
}

base::Result<void> FaultDevice::write(std::uint64_t offset, base::ConstBytes bytes) {
  return hurt_change(Fault::Operation::write, "writing", offset, bytes.size(), [&](std::uint64_t length) {
    return under().write(offset, bytes.first(static_cast<std::size_t>(length)));
  });
}

base::Result<void> FaultDevice::discard(std::uint64_t offset, std::uint64_t length) {
  return hurt_change(Fault::Operation::discard, "discarding", offset, length,
                     [&](std::uint64_t part) { return under().discard(offset, part); });
}

base::Result<void> FaultDevice::zero(std::uint64_t offset, std::uint64_t length) {
  return hurt_change(Fault::Operation::write, "writing", offset, length,
                     [&](std::uint64_t part) { return under().zero(offset, part); });
}

base::Result<void> FaultDevice::preallocate(std::uint64_t offset, std::uint64_t length) {
  return hurt_change(Fault::Operation::preallocate, "preallocating", offset, length,
                     [&](std::uint64_t part) { return under().preallocate(offset, part); });
}

base::Result<void> FaultDevice::resize(std::uint64_t size) {
  const Fault* fault = strike(Fault::Operation::resize, 0, UINT64_MAX);
  if (fault == nullptr) return under().resize(size);
  if (fault->effect == Fault::Effect::cut) return {};
  return std::unexpected(system_error("resizing", fault->os_error));
}

base::Result<void> FaultDevice::flush() {
  const Fault* fault = strike(Fault::Operation::flush, 0, UINT64_MAX);
  if (fault == nullptr) return under().flush();
  if (fault->effect == Fault::Effect::cut) return {};
  return std::unexpected(system_error("flushing", fault->os_error));
}

std::uint64_t FaultDevice::strikes() const {
  const std::scoped_lock lock(mutex_);
  return strikes_;
}

}  // namespace cowvet::storage
