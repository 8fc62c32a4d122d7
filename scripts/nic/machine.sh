# shellcheck shell=bash
# What this machine has: network cards on PCI, what they carry, IOMMU, vfio-pci. Sourced by nic.sh; only reads.
# What nic.sh alone uses:
# shellcheck disable=SC2034

# All of /sys, /proc, /etc, /run and /dev is looked for below it; empty: the machine itself.
at=${NIC_ROOT:-}
pci=$at/sys/bus/pci/devices
net=$at/sys/class/net

# Drivers that DPDK works together with, so that the card stays with the kernel.
bifurcated='mlx4_core mlx5_core mana'

# Prints the first line of a file; nothing if there is none.
read_line() {
    local line=
    if [[ -r $1 ]]; then IFS= read -r line <"$1" || true; fi
    printf '%s' "$line"
}

# Prints the last part of what a link points to; nothing if there is none.
link_name() {
    local to=
    if [[ -L $1 ]]; then to=$(readlink "$1"); fi
    printf '%s' "${to##*/}"
}

# Prints the addresses of all network devices on PCI.
network_cards() {
    local card
    for card in "$pci"/*; do
        if [[ $(read_line "$card/class") == 0x02* ]]; then printf '%s\n' "${card##*/}"; fi
    done
}

# Prints the PCI address of what is named by address, with or without its domain, or by interface.
address_of() {
    local name=$1 at_device address=${1,,}
    if [[ $address =~ ^([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$ ]]; then
        [[ $address == *:*:* ]] || address=0000:$address
        [[ -d $pci/$address ]] || die "no PCI device $address; \"nic.sh status\" lists the network cards"
        [[ $(read_line "$pci/$address/class") == 0x02* ]] || die "$address is not a network card"
        printf '%s' "$address"
        return
    fi
    [[ -n $name && -e $net/$name ]] ||
        die "no interface or PCI device \"$name\"; \"nic.sh status\" lists the network cards"
    # virtio's interfaces hang one level below the card, on a bus of their own.
    at_device=$(readlink -f "$net/$name/device" || true)
    while [[ -n $at_device && ! -d $pci/${at_device##*/} ]]; do at_device=${at_device%/*}; done
    [[ -n $at_device ]] || die "$name is not on PCI: there is nothing to bind"
    printf '%s' "${at_device##*/}"
}

driver_of() { link_name "$pci/$1/driver"; }
group_of() { link_name "$pci/$1/iommu_group"; }

# Prints the NUMA node of a card; 0 where the machine does not say.
node_of() {
    local node
    node=$(read_line "$pci/$1/numa_node")
    if [[ -z $node || $node == -1 ]]; then node=0; fi
    printf '%s' "$node"
}

# Prints the kernel's interfaces of a card, with blanks between.
interfaces_of() {
    local path names=()
    for path in "$pci/$1"/net/* "$pci/$1"/virtio*/net/*; do
        if [[ -e $path ]]; then names+=("${path##*/}"); fi
    done
    printf '%s' "${names[*]-}"
}

# What must keep its card, and why: by interface.
declare -A kept=()

# An interface that must stay, and those that it is made of: ports of a bridge or bond, what a VLAN is on.
keep() {
    local name=$1 why=$2 lower
    [[ ", ${kept[$name]-}, " != *", $why, "* ]] || return 0
    kept[$name]=${kept[$name]+${kept[$name]}, }$why
    for lower in "$net/$name"/lower_*; do
        if [[ -e $lower || -L $lower ]]; then keep "${lower##*/lower_}" "$why"; fi
    done
}

# The local address of the login in `SSH_CONNECTION`. sudo takes it out of the environment: our parents have it.
login_address() {
    local login=${SSH_CONNECTION-} id=$PPID line word
    while [[ -z $login && -n $id && $id -gt 1 && -r $at/proc/$id/environ ]]; do
        while IFS= read -r -d '' word; do
            if [[ $word == SSH_CONNECTION=* ]]; then login=${word#*=}; fi
        done <"$at/proc/$id/environ"
        line=$(grep -m 1 '^PPid:' "$at/proc/$id/status" || true)
        id=${line//[^0-9]/}
    done
    read -r _ _ login _ <<<"$login" || true
    printf '%s' "$login"
}

# Prints "INTERFACE ADDRESS" for each address of this machine.
addresses() { ip -o addr show | sed -nE 's/^[0-9]+: ([^ @:]+)[^ ]* +inet6? ([^ /]+).*$/\1 \2/p'; }

find_kept() {
    local name destination mask login address rest
    while read -r name destination rest; do
        read -r _ _ _ _ _ mask _ <<<"$rest" || true
        if [[ $destination == 00000000 && $mask == 00000000 ]]; then keep "$name" "default route"; fi
    done < <(cat "$at/proc/net/route" 2>/dev/null || true)
    while read -r destination mask rest; do
        name=${rest##* }
        if [[ $destination$mask =~ ^0{34}$ && $name != lo ]]; then keep "$name" "default route"; fi
    done < <(cat "$at/proc/net/ipv6_route" 2>/dev/null || true)
    login=$(login_address)
    [[ -n $login ]] || return 0
    if [[ $login == *%* ]]; then keep "${login##*%}" "your login"; fi
    while read -r name address; do
        if [[ $address == "${login%%%*}" ]]; then keep "$name" "your login"; fi
    done < <(addresses)
}

# Prints why a card is never bound; nothing if it may be.
why_kept() {
    local name
    for name in $(interfaces_of "$1"); do
        if [[ -n ${kept[$name]-} ]]; then printf '%s carries: %s' "$name" "${kept[$name]}"; fi
    done
}

# Prints what a card is used for by the kernel, short of what it is kept for; nothing if for nothing.
used_for() {
    local name owner upper
    for name in $(interfaces_of "$1"); do
        while read -r owner upper; do
            # Link-local ones are made by the kernel itself as soon as the link is up.
            if [[ $owner == "$name" && $upper != fe80:* ]]; then printf '%s has the address %s\n' "$name" "$upper"; fi
        done < <(addresses)
        for upper in "$net/$name"/upper_*; do
            if [[ -e $upper || -L $upper ]]; then printf '%s is part of %s\n' "$name" "${upper##*/upper_}"; fi
        done
    done
}

iommu_works() { compgen -G "$at/sys/kernel/iommu_groups/*" >/dev/null; }
vfio_loaded() { [[ -d $at/sys/bus/pci/drivers/vfio-pci ]]; }
noiommu=$at/sys/module/vfio/parameters/enable_unsafe_noiommu_mode

# Prints what is to be done for an IOMMU, according to what firmware and kernel say about it.
iommu_fix() {
    local vendor option=intel_iommu=on name='Intel VT-d'
    vendor=$(grep -m 1 '^vendor_id' "$at/proc/cpuinfo" 2>/dev/null || true)
    if [[ $vendor == *AuthenticAMD* ]]; then option=amd_iommu=on name='AMD-Vi (IOMMU)'; fi
    if ! compgen -G "$at/sys/firmware/acpi/tables/DMAR" >/dev/null && ! compgen -G "$at/sys/firmware/acpi/tables/IVRS" >/dev/null; then
        printf 'the firmware offers none: turn on %s in its setup (in a virtual machine: give it a virtual IOMMU), then "%s iommu=pt" on the kernel'"'"'s command line' "$name" "$option"
    elif [[ " $(read_line "$at/proc/cmdline") " == *" $option "* ]]; then
        printf 'the firmware offers one and the kernel was told %s, but made no groups: dmesg | grep -i -e dmar -e amd-vi -e iommu' "$option"
    else
        printf 'the kernel does not use it: add "%s iommu=pt" to GRUB_CMDLINE_LINUX in /etc/default/grub, run update-grub, and boot' "$option"
    fi
}

# Prints the members of a card's IOMMU group that keep VFIO from handing it out, but for those named after it.
group_holders() {
    local card=$1 group other address driver
    shift
    group=$(group_of "$card")
    [[ -n $group ]] || return 0
    for other in "$at/sys/kernel/iommu_groups/$group/devices"/*; do
        address=${other##*/}
        [[ " $card $* " != *" $address "* ]] || continue
        # Bridges belong to their kernel driver, and VFIO does not mind.
        [[ $(read_line "$pci/$address/class") != 0x06* ]] || continue
        driver=$(driver_of "$address")
        if [[ -n $driver && $driver != vfio-pci ]]; then printf '%s\n' "$address"; fi
    done
}

# Prints "PID NAME" of the processes that have a card open through VFIO.
vfio_users() {
    local group file to id
    group=$(group_of "$1")
    [[ -n $group ]] || return 0
    for file in "$at"/proc/[0-9]*/fd/*; do
        to=$(readlink "$file" 2>/dev/null || true)
        if [[ $to == "/dev/vfio/$group" || $to == "/dev/vfio/noiommu-$group" ]]; then
            id=${file#"$at/proc/"}
            id=${id%%/*}
            printf '%s %s\n' "$id" "$(read_line "$at/proc/$id/comm")"
        fi
    done | sort -u
}
